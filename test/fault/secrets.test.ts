import { randomBytes } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { testsOnPostgres } from '../fixtures/database.ts';
import { connect, echoCall, mcp, put, raw, read, rest, untilState } from '../fixtures/fault.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { legacyServer, startUpstream, type Upstream } from '../fixtures/upstream.ts';

const sentinel = (name: string) => `sentinel-${name}-${randomBytes(12).toString('hex')}`;

const first = sentinel('first');
const second = sentinel('second');
const query = sentinel('query');
const refused = sentinel('refused');
const all = [first, second, query, refused];
const masterKey = randomBytes(32);

let pb: TestPatchbay;
let up: Upstream;
/** Every answer that any request of this file got: status line, headers and body. */
const answers: string[] = [];
const healthy = legacyServer({ sessions: true, call: () => ({ content: [] }) }).handler;

beforeAll(async () => {
  pb = await startPatchbay({
    env: { PATCHBAY_LOG_LEVEL: 'trace', PATCHBAY_MASTER_KEY: masterKey.toString('base64') },
    limits: {
      healMinMs: 20,
      healMaxMs: 60,
      callTimeoutMs: 400,
      listMs: 400,
      discoverMs: 400,
      probeMs: 1_000,
    },
  });
  const request = pb.request;
  pb.request = async (path, init) => {
    const response = await request(path, init);
    answers.push(`${path} ${JSON.stringify([...response.headers])} ${await response.clone().text()}`);
    return response;
  };
  up = await startUpstream(healthy);
});
afterAll(async () => {
  await pb?.stop();
  await up?.stop();
});

const secretHeaders = { authorization: `Bearer ${first}`, 'X-Api-Key': second };

test('headers go upstream, and nowhere else, whatever happens', async () => {
  await connect(pb, 'c', up.url, { headers: secretHeaders });
  const sent = () =>
    up.received.filter(
      ({ headers }) => headers.authorization === `Bearer ${first}` && headers['x-api-key'] === second,
    );
  expect(sent().length).toBe(up.received.length);
  // What is asked beside a probe is asked by anyone.
  expect(up.wellKnown.length).toBeGreaterThan(0);

  // Every answer that shows a connection.
  await pb.request('/connect/default/c');
  await pb.request('/default/c');
  await pb.request('/connect/default?limit=10');
  await pb.request('/connect/default/.tools');
  await pb.request('/connect/default/c/.tools');
  await put(pb, 'c', { name: 'other name' });
  await rest(pb, 'c');
  await mcp(pb, 'c', echoCall());
  await pb.request('/connect/default', { method: 'POST', json: { mcpUrl: up.url, headers: secretHeaders } });

  // Every fault, seen by a probe, by .tools and by the MCP endpoint.
  const faults: Parameters<Upstream['handle']>[0][] = [
    (_request, response) =>
      void response.writeHead(401, { 'www-authenticate': `Bearer error="${first}"` }).end(first),
    (_request, response) =>
      void response.writeHead(500, { 'content-type': 'text/plain' }).end(`bad key ${second}`),
    (_request, response) => void response.writeHead(404, { 'content-type': 'text/html' }).end(first),
    (_request, response) => void response.writeHead(200, { 'content-type': 'text/html' }).end(first),
    (_request, response) =>
      void response.writeHead(200, { 'content-type': 'application/json' }).end(`no JSON: ${first}`),
    (_request, response) =>
      void response.writeHead(302, { location: `https://login.example/?token=${first}` }).end(),
    (_request, response) => void response.writeHead(307, { location: `/mcp?token=${first}` }).end(),
    (_request, response) => void response.writeHead(429, { 'x-echo': first }).end(first),
    (_request, response) => void response.socket?.end(`HTTP/9 ${first}\r\n\r\n`),
    (_request, response) => void response.socket?.destroy(),
    () => {},
  ];
  for (const fault of faults) {
    up.handle(fault);
    expect((await rest(pb, 'c')).status).toBeGreaterThanOrEqual(400);
    expect((await mcp(pb, 'c', echoCall())).status).toBeGreaterThanOrEqual(400);
    await put(pb, 'c', {});
    await pb.request('/connect/default/c');
  }
  up.handle(healthy);
  await rest(pb, 'c');
  await untilState(pb, 'c', 'connected');
  expect(JSON.stringify(up.wellKnown)).not.toMatch(/sentinel/);
});

test('a key in the query of the URL is in no message', async () => {
  up.handle((_request, response) => void response.writeHead(404).end());
  const { json } = await put(pb, 'q', { mcpUrl: `${up.url}?api_key=${query}` });
  expect(JSON.stringify(json.status)).not.toContain(query);
  // The URL itself is the caller's own field and shown as it is; only its messages are looked at below.
  const answer = await mcp(pb, 'q', echoCall());
  expect(answer.status).toBe(502);
  expect(answer.text).not.toContain(query);
  expect(pb.logs.join('\n')).not.toContain(query);
  await pb.request('/connect/default/q', { method: 'DELETE' });
  answers.splice(0, answers.length, ...answers.map((text) => text.replaceAll(`api_key=${query}`, '')));
  up.handle(healthy);
});

test('a refused header value is not repeated in the refusal', async () => {
  const bodies: Record<string, unknown>[] = [
    { headers: { 'x-key': `${refused}\r\nx-injected: 1` } },
    { headers: { 'bad name': refused } },
    { headers: { host: refused } },
    { headers: { 'x-key': [refused] } },
    { headers: refused },
    { headers: { 'x-key': refused.repeat(1_000) } },
    { headers: { 'x-key': refused }, mcpUrl: 'not a url' },
    { headers: { 'x-key': refused }, unknown: 1 },
  ];
  for (const body of bodies) {
    expect((await put(pb, 'r', { mcpUrl: up.url, ...body })).status).toBe(400);
  }
  const broken = await raw(pb, {
    method: 'PUT',
    path: '/connect/default/r',
    headers: { 'content-type': 'application/json' },
    body: `{"mcpUrl":"${up.url}","headers":{"x-key":"${refused}`,
  });
  expect(broken.status).toBe(400);
  answers.push(broken.text);
});

test('no answer and no log line holds a secret', async () => {
  expect(answers.length).toBeGreaterThan(50);
  expect(pb.logs.length).toBeGreaterThan(0);
  const secrets = [...all, pb.key, masterKey.toString('base64'), masterKey.toString('hex')];
  for (const secret of secrets) {
    expect(answers.filter((text) => text.includes(secret))).toEqual([]);
    expect(pb.logs.filter((line) => line.includes(secret))).toEqual([]);
    const base64 = Buffer.from(secret).toString('base64').replace(/=+$/, '').slice(0, -1);
    expect(answers.filter((text) => text.includes(base64))).toEqual([]);
  }
});

/** Every byte below `directory`, by file. */
async function files(directory: string): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    found.set(path, await readFile(path));
  }
  return found;
}

test('no file of the data directory, and no row, holds a secret in the clear', async () => {
  const found = await files(pb.dataDir);
  if (!testsOnPostgres) {
    const bytes = [...found.values()].reduce((sum, file) => sum + file.length, 0);
    expect(bytes).toBeGreaterThan(10_000);
    // The search itself works: what is no secret is found.
    expect([...found.values()].some((file) => file.includes(up.url))).toBe(true);
  }
  const rows = JSON.stringify(
    await Promise.all(
      (
        [
          'facts',
          'organizations',
          'api_keys',
          'namespaces',
          'data_keys',
          'connections',
          'connection_metadata',
          'grants',
          'logins',
          'oauth_clients',
          'oauth_registrations',
          'webhooks',
          'webhook_deliveries',
        ] as const
      ).map((table) => pb.store.db.selectFrom(table).selectAll().execute()),
    ),
  );
  expect(rows).toContain(up.url);
  for (const secret of [first, second, refused, pb.key, masterKey.toString('base64')]) {
    const forms = [
      Buffer.from(secret),
      Buffer.from(secret, 'utf16le'),
      Buffer.from(Buffer.from(secret).toString('hex')),
    ];
    for (const [path, file] of found) {
      for (const form of forms) expect(file.includes(form), path).toBe(false);
    }
    expect(rows).not.toContain(secret);
  }
  for (const [path, file] of found) expect(file.includes(masterKey), path).toBe(false);
});

test('data directory and key file are for their owner alone', async () => {
  const own = await startPatchbay();
  expect((await stat(own.dataDir)).mode & 0o777).toBe(0o700);
  if (!testsOnPostgres) expect((await stat(join(own.dataDir, 'master.key'))).mode & 0o777).toBe(0o600);
  await own.stop();
});

test.each(['within one namespace', 'to another namespace'])(
  'a sealed value moved to another row %s does not open',
  async (where) => {
    const moved = sentinel('moved');
    const thief = await startUpstream(legacyServer().handler);
    const namespace = where === 'within one namespace' ? 'default' : 'elsewhere';
    await read(await pb.request('/namespaces/elsewhere', { method: 'PUT', json: {} }));
    await connect(pb, `victim-${namespace}`, up.url, { headers: { authorization: moved } });
    const path = `/connect/${namespace}/thief-${namespace}`;
    expect(
      (await pb.request(path, { method: 'PUT', json: { mcpUrl: thief.url, headers: { 'x-own': '1' } } }))
        .status,
    ).toBe(201);
    const { db } = pb.store;
    const { sealed_headers } = await db
      .selectFrom('connections')
      .select('sealed_headers')
      .where('id', '=', `victim-${namespace}`)
      .executeTakeFirstOrThrow();
    expect(sealed_headers).toBeTruthy();
    await db
      .updateTable('connections')
      .set({ sealed_headers })
      .where('id', '=', `thief-${namespace}`)
      .execute();
    await pb.restart();
    const seen = thief.received.length;
    const calls = [
      await read(await pb.request(`${path}/.tools`)),
      await read(await pb.request(`${path}/mcp`, { method: 'POST', json: echoCall() })),
      await read(await pb.request(path, { method: 'PUT', json: { name: 'probe it' } })),
    ];
    for (const { status, text } of calls) {
      expect(status).toBeGreaterThanOrEqual(400);
      expect(text).not.toContain(moved);
    }
    expect(thief.received.length).toBe(seen);
    // The victim's own still opens.
    expect((await rest(pb, `victim-${namespace}`)).status).toBe(200);
    expect(up.received.at(-1)?.headers.authorization).toBe(moved);
    expect(pb.logs.filter((line) => line.includes(moved))).toEqual([]);
    await thief.stop();
  },
);

test('headers of one connection never reach another upstream', async () => {
  const other = await startUpstream(legacyServer().handler);
  await connect(pb, 'o', other.url);
  await rest(pb, 'o');
  await mcp(pb, 'o', echoCall(), {
    headers: { cookie: 'session=1', 'x-api-key': 'callers-own', forwarded: 'for=1' },
  });
  for (const { headers } of other.received) {
    expect(JSON.stringify(headers)).not.toMatch(/sentinel|callers-own|session=1|forwarded/);
    // The caller's API key is for us and not for the upstream.
    expect(headers.authorization).toBeUndefined();
  }
  await other.stop();
});
