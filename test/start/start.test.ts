import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { describeSettings } from '../../src/platform/config.ts';
import { createTestDatabase, type TestDatabase, testsOnPostgres } from '../fixtures/database.ts';
import { type ServerProcess, startProcess } from '../fixtures/process.ts';
import { until } from '../fixtures/until.ts';
import { legacyServer, startUpstream } from '../fixtures/upstream.ts';

let dataDir: string;
let database: TestDatabase;
let running: ServerProcess[];

beforeEach(async () => {
  const parent = await mkdtemp(join(tmpdir(), 'patchbay-start-'));
  dataDir = join(parent, 'data');
  database = await createTestDatabase(dataDir);
  running = [];
});
afterEach(async () => {
  for (const server of running) server.process.kill('SIGKILL');
  await Promise.all(running.map((server) => server.exited));
  await database.drop();
  await rm(join(dataDir, '..'), { recursive: true, force: true });
});

function start(env: Record<string, string> = {}, args: string[] = []): ServerProcess {
  const server = startProcess(args, {
    PATCHBAY_PORT: '0',
    PATCHBAY_DATA_DIR: dataDir,
    ...database.env,
    ...env,
  });
  running.push(server);
  return server;
}

async function stop(server: ServerProcess): Promise<number | null> {
  server.process.kill('SIGTERM');
  return server.exited;
}

const keyIn = (output: string) => /export SMITHERY_API_KEY=(\S+)/.exec(output)?.[1];

describe('the first start', () => {
  test('prints a working key once, with the lines for SDK and CLI and a curl', async () => {
    const first = start();
    const url = await first.url();
    // The key is on stdout and the log on stderr: two pipes, which arrive in any order.
    await until(() => first.output().includes(`${url}/connect/default`));
    const key = keyIn(first.output()) as string;
    expect(first.output().split(key)).toHaveLength(4);
    for (const name of [
      'SMITHERY_BASE_URL',
      'SMITHERY_CONNECT_BASE_URL',
      'SMITHERY_UPLINK_BASE_URL',
      'SMITHERY_URL',
    ]) {
      expect(first.output()).toContain(`export ${name}=${url}`);
    }
    expect(first.output()).toContain(`curl -H "Authorization: Bearer ${key}" ${url}/connect/default`);
    const list = await fetch(`${url}/connect/default`, { headers: { authorization: `Bearer ${key}` } });
    expect(await list.json()).toEqual({ connections: [], nextCursor: null });
    await stop(first);

    const second = start();
    const again = await fetch(`${await second.url()}/namespaces`, {
      headers: { authorization: `Bearer ${key}` },
    });
    expect(await again.json()).toMatchObject({ namespaces: [{ name: 'default' }] });
    expect(keyIn(second.output())).toBeUndefined();
    expect(second.output()).not.toContain(key);
  });

  test('never prints a key that PATCHBAY_API_KEY fixes', async () => {
    const server = start({ PATCHBAY_API_KEY: 'fixed-key-0123456789' });
    const url = await server.url();
    const list = await fetch(`${url}/connect/default`, {
      headers: { authorization: 'Bearer fixed-key-0123456789' },
    });
    expect(list.status).toBe(200);
    expect(server.output()).not.toMatch(/fixed-key|SMITHERY_API_KEY/);
  });

  test('makes the data directory private', async () => {
    await start().url();
    expect((await stat(dataDir)).mode & 0o777).toBe(0o700);
    if (!testsOnPostgres) expect((await stat(join(dataDir, 'master.key'))).mode & 0o777).toBe(0o600);
  });
});

describe('a start that cannot be', () => {
  test.skipIf(testsOnPostgres)('is refused on a data directory that is in use', async () => {
    await start().url();
    const second = start();
    expect(await second.exited).toBe(1);
    expect(second.output()).toMatch(/Another Patchbay process uses the data directory .* PATCHBAY_DATA_DIR/);
  });

  test('is refused on a taken port', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => {
      other.listen(0, '127.0.0.1', resolve);
    });
    const { port } = other.address() as AddressInfo;
    const server = start({ PATCHBAY_PORT: String(port) });
    expect(await server.exited).toBe(1);
    expect(server.output()).toMatch(new RegExp(`127\\.0\\.0\\.1:${port} is taken .* PATCHBAY_PORT`));
    other.close();
  });

  test('names every setting that is wrong', async () => {
    const server = start({ PATCHBAY_PORT: 'x', PATCHBAY_MASTER_KEY: 'x' });
    expect(await server.exited).toBe(2);
    expect(server.output()).toMatch(/PATCHBAY_PORT .*\n.*PATCHBAY_MASTER_KEY /);
  });

  test('is refused without the key of sealed data', async () => {
    const first = start();
    await first.url();
    await stop(first);
    await rm(join(dataDir, 'master.key'), { force: true });
    const { PATCHBAY_MASTER_KEY: _gone, ...env } = database.env;
    const without = startProcess([], { PATCHBAY_PORT: '0', PATCHBAY_DATA_DIR: dataDir, ...env });
    expect(await without.exited).toBe(1);
    expect(without.output()).toMatch(/set PATCHBAY_MASTER_KEY/);
    const wrong = start({ PATCHBAY_MASTER_KEY: Buffer.alloc(32).toString('base64') });
    expect(await wrong.exited).toBe(1);
    expect(wrong.output()).toMatch(/not the one that this database was sealed with/);
  });

  test('is refused on a directory of somebody else', async () => {
    await mkdir(dataDir, { mode: 0o755 });
    await writeFile(join(dataDir, 'thesis.txt'), 'x');
    const server = start();
    expect(await server.exited).toBe(1);
    expect(server.output()).toMatch(/PATCHBAY_DATA_DIR .* holds other files/);
    expect((await stat(dataDir)).mode & 0o777).toBe(0o755);
  });

  test('says that the database does not answer', async () => {
    const server = start({ PATCHBAY_DATABASE_URL: 'postgres://nobody@127.0.0.1:9/none' });
    expect(await server.exited).toBe(1);
    expect(server.output()).toMatch(/PATCHBAY_DATABASE_URL/);
  });
});

describe('SIGTERM', () => {
  test('ends an idle server with 0 within five seconds, sockets kept alive or not', async () => {
    const server = start();
    await (await fetch(`${await server.url()}/health`)).text();
    const began = performance.now();
    expect(await stop(server)).toBe(0);
    expect(performance.now() - began).toBeLessThan(5_000);
  });

  test('lets an answer under way finish', async () => {
    let release = () => {};
    const upstream = await startUpstream(
      legacyServer({
        call: () =>
          new Promise((resolve) => {
            release = () => resolve({ content: [{ type: 'text', text: 'late' }] });
          }),
      }).handler,
    );
    const server = start({ PATCHBAY_API_KEY: 'fixed-key-0123456789' });
    const url = await server.url();
    const headers = { authorization: 'Bearer fixed-key-0123456789', 'content-type': 'application/json' };
    const put = { method: 'PUT', headers, body: JSON.stringify({ mcpUrl: upstream.url }) };
    expect((await fetch(`${url}/default/slow`, put)).status).toBe(201);
    const call = fetch(`${url}/default/slow/.tools/echo`, { method: 'POST', headers, body: '{}' });
    while (!upstream.received.some(({ message }) => message?.method === 'tools/call')) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    const stopped = stop(server);
    release();
    expect(await (await call).json()).toEqual({ content: [{ type: 'text', text: 'late' }] });
    expect(await stopped).toBe(0);
    await upstream.stop();
  });
});

test('after a restart everything is there', async () => {
  const upstream = await startUpstream(legacyServer().handler);
  const headers = { authorization: 'Bearer fixed-key-0123456789', 'content-type': 'application/json' };
  const fixed = { PATCHBAY_API_KEY: 'fixed-key-0123456789' };
  const first = start(fixed);
  const body = { mcpUrl: upstream.url, headers: { 'x-key': 'k' }, metadata: { a: 1 } };
  const put = await fetch(`${await first.url()}/default/kept`, {
    method: 'PUT',
    headers,
    body: JSON.stringify(body),
  });
  const stored = await put.json();
  await stop(first);
  const url = await start(fixed).url();
  expect(await (await fetch(`${url}/default/kept`, { headers })).json()).toEqual(stored);
  expect((await fetch(`${url}/default/kept/.tools`, { headers })).status).toBe(200);
  expect(upstream.received.at(-1)?.headers['x-key']).toBe('k');
  await upstream.stop();
});

describe('the command line', () => {
  test('--help explains every setting', async () => {
    const help = start({}, ['--help']);
    expect(await help.exited).toBe(0);
    for (const { name, help: line } of describeSettings()) {
      expect(help.output()).toContain(name);
      expect(help.output()).toContain(line);
    }
  });

  test('keys create replaces a lost key, and says so when the server is in the way', async () => {
    const server = start();
    await server.url();
    if (!testsOnPostgres) {
      const refused = start({}, ['keys', 'create']);
      expect(await refused.exited).toBe(1);
      expect(refused.output()).toMatch(/Another Patchbay process/);
      await stop(server);
    }
    const made = start({}, ['keys', 'create', '--json']);
    expect(await made.exited).toBe(0);
    const { key } = JSON.parse(made.output()) as { key: string };
    const url = testsOnPostgres ? await server.url() : await start().url();
    const list = await fetch(`${url}/connect/default`, { headers: { authorization: `Bearer ${key}` } });
    expect(list.status).toBe(200);
  });

  test('organizations create makes a tenant with a key of its own, and keys create another one for it', async () => {
    const made = start({}, ['organizations', 'create', 'Team Blue', '--json']);
    expect([await made.exited, made.output()]).toEqual([0, expect.stringContaining('"Team Blue"')]);
    const { id, key } = JSON.parse(made.output()) as { id: string; key: string };
    const other = start({}, ['keys', 'create', '--organization', id]);
    expect(await other.exited).toBe(0);
    const unknown = start({}, ['keys', 'create', '--organization', 'org_none']);
    expect([await unknown.exited, unknown.output()]).toEqual([1, expect.stringContaining('no organization')]);
    const unnamed = start({}, ['organizations', 'create', ' ']);
    expect(await unnamed.exited).toBe(1);
    const url = await start().url();
    for (const one of [key, other.output().trim()]) {
      const answer = await fetch(`${url}/organizations`, { headers: { authorization: `Bearer ${one}` } });
      expect(await answer.json()).toEqual({ organizations: [{ id, name: 'Team Blue', role: 'admin' }] });
      const none = await fetch(`${url}/connect/default`, { headers: { authorization: `Bearer ${one}` } });
      expect(none.status).toBe(404);
    }
  });

  test('an unknown command is an error', async () => {
    const wrong = start({}, ['sevre']);
    expect(await wrong.exited).toBe(2);
    expect(await readdir(join(dataDir, '..'))).toEqual([]);
  });
});
