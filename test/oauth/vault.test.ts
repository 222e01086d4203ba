import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testsOnPostgres } from '../fixtures/database.ts';
import { connect, mcp, put, read, rest, untilState } from '../fixtures/fault.ts';
import {
  type AuthorizationServer,
  startAuthorizationServer,
} from '../fixtures/oauth/authorization-server.ts';
import { followLogin, openBrowser, type Page, type Person } from '../fixtures/oauth/browser.ts';
import { answer, html, oauthError } from '../fixtures/oauth/faults.ts';
import {
  type FaultyAuthorizationServer,
  startFaultyAuthorizationServer,
} from '../fixtures/oauth/faulty-authorization-server.ts';
import { type GuardedMcpServer, startGuardedMcpServer } from '../fixtures/oauth/guarded-mcp-server.ts';
import {
  awaitLogin,
  expectCallWorks,
  type OAuthRig,
  rpc,
  setUpOAuth,
  setupUrlOf,
} from '../fixtures/oauth/rig.ts';
import type { TestPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';
import { legacyServer, sendJson, startUpstream, type Upstream } from '../fixtures/upstream.ts';

// Pains 36: what is secret is sealed, and shown to nobody but whom it is for. One instance lives through everything
// that it can have to do with secrets; then they are looked for.

const sentinel = (name: string) => `sentinel-${name}-${randomBytes(18).toString('base64url')}`;

const headerValue = sentinel('header');
const inputValue = sentinel('input');
const clientSecret = sentinel('client-secret');
const masterKey = randomBytes(32).toString('base64');
const keyPair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const privateJwk = keyPair.privateKey.export({ format: 'jwk' });

let rig: OAuthRig;
let pb: TestPatchbay;
/** Where a client of the tenant's own is known. */
let owned: FaultyAuthorizationServer;
let real: AuthorizationServer;
let guarded: GuardedMcpServer;
let asking: Upstream;
let receiver: Upstream;

/** What callers of the API, people in browsers and webhooks got to see. */
const answers: string[] = [];
const pages: string[] = [];
/** The data directory and the rows, at several moments. */
const stored: Buffer[] = [];
const webhookSecrets: string[] = [];
/** Setup tickets and secrets of browsers: they are for the person, and for nobody else. */
const links: string[] = [];

beforeAll(async () => {
  rig = await setUpOAuth();
  owned = await startFaultyAuthorizationServer();
  asking = await startUpstream((request, response) => {
    if (request.path === '/.well-known/mcp-config') {
      const key = { type: 'string', title: 'Key', 'x-from': { header: 'x-input-key' } };
      return sendJson(response, 200, { type: 'object', properties: { key }, required: ['key'] });
    }
    if (!request.headers['x-input-key']) return void response.writeHead(401).end();
    return legacyServer().handler(request, response);
  });
  receiver = await startUpstream((_, response) => void response.writeHead(204).end(), '/hook');
  const jwks = { keys: [{ ...keyPair.publicKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256' }] };
  real = await startAuthorizationServer({
    clients: [
      {
        client_id: 'keyed',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
        token_endpoint_auth_method: 'private_key_jwt',
        jwks,
      },
    ],
  });
  guarded = await startGuardedMcpServer({ authorizationServer: real, era: 'both' });
  pb = await rig.start({
    env: { PATCHBAY_LOG_LEVEL: 'trace', PATCHBAY_MASTER_KEY: masterKey },
    limits: { healMinMs: 20, healMaxMs: 60, healSweepMs: 50, renewRetryMinMs: 20, renewRetryMaxMs: 60 },
  });
  const request = pb.request;
  await registerWebhook(request);
  pb.request = async (path, init) => {
    const response = await request(path, init);
    const text = await response.clone().text();
    answers.push(`${path} ${JSON.stringify([...response.headers])} ${text}`);
    links.push(...[...text.matchAll(/ticket=([\w.-]+)/g)].map(([, ticket]) => ticket as string));
    return response;
  };
  await liveWithHeadersAndInputs();
  await liveWithLogins();
  await liveWithFaults();
  await liveWithOwnClients();
  await readEverything();
  await keepStored();
}, 120_000);

afterAll(async () => {
  await rig?.stop();
  for (const upstream of [asking, receiver]) await upstream?.stop();
  for (const server of [owned, guarded, real]) await server?.close();
});

/** The one answer that shows a webhook's secret. */
async function registerWebhook(request: TestPatchbay['request']): Promise<void> {
  const response = await request('/namespaces/default/webhooks', {
    method: 'POST',
    json: { url: receiver.url },
  });
  const { secret } = (await response.json()) as { secret: string };
  webhookSecrets.push(secret.replace(/^whsec_/, ''));
}

async function walk(setupUrl: string, person: Person = {}): Promise<Page[]> {
  const steps = await followLogin(setupUrl, person);
  for (const { headers, text } of steps.filter(({ url }) => url.startsWith(pb.url))) {
    links.push(...headers.getSetCookie().map((cookie) => /=([^;]+)/.exec(cookie)?.[1] as string));
    headers.delete('set-cookie');
    pages.push(`${JSON.stringify([...headers])} ${text}`);
  }
  return steps;
}

async function liveWithHeadersAndInputs(): Promise<void> {
  const plain = await startUpstream(legacyServer().handler);
  await connect(pb, 'headers', plain.url, { headers: { 'x-api-key': headerValue } });
  await rest(pb, 'headers');
  expect(plain.received.at(-1)?.headers['x-api-key']).toBe(headerValue);
  await plain.stop();
  await rest(pb, 'headers');

  const { json } = await put(pb, 'inputs', { mcpUrl: asking.url });
  expect(json.status).toMatchObject({ state: 'input_required' });
  await walk((json.status as { setupUrl: string }).setupUrl, {
    values: { 'header:x-input-key': inputValue },
  });
  await untilState(pb, 'inputs', 'connected');
  expect(asking.received.at(-1)?.headers['x-input-key']).toBe(inputValue);
}

async function liveWithLogins(): Promise<void> {
  const { server } = rig;
  const setupUrl = await awaitLogin(pb, 'c', server.mcpUrl);
  // A login that has begun: its verifier is known once it ends.
  const browser = openBrowser();
  const begun = await browser.follow(await browser.submit(await browser.get(setupUrl)));
  await keepStored();
  pages.push((await browser.follow(begun)).text);
  await expectCallWorks(pb, 'c');

  server.book.expireAccessTokens();
  await expectCallWorks(pb, 'c');
  server.behaviour.mcp.requiredScopes = { admin: 'admin' };
  const admin = rpc('tools/call', { name: 'admin', arguments: {} });
  expect((await mcp(pb, 'c', admin)).status).toBe(401);
  await walk(await setupUrlOf(pb, 'c'));
  expect((await mcp(pb, 'c', admin)).status).toBe(200);
  await walk(await setupUrlOf(pb, 'c'));
  await expectCallWorks(pb, 'c');
}

/** Servers that repeat to us all that they know of us, where they can. */
async function liveWithFaults(): Promise<void> {
  const { behaviour, book } = rig.server;
  const all = () => [...book.secrets].join(' ');
  for (const fault of [
    oauthError('temporarily_unavailable', 503, all()),
    oauthError('invalid_request', 400, all()),
    answer(200, { access_token: `${all()} \n`, token_type: 'Bearer' }),
    answer(200, { access_token: 7, refresh_token: all(), error: all() }),
    answer(500, all()),
    html(),
  ]) {
    book.expireAccessTokens();
    behaviour.faults.token = fault;
    await mcp(pb, 'c', rpc());
    await rest(pb, 'c');
    await put(pb, 'c', {});
  }
  rig.server.heal();
  await untilState(pb, 'c', 'connected');
  for (const fault of [
    answer(500, all()),
    answer(404, all()),
    answer(401, all(), { 'www-authenticate': `Bearer error="${all()}"` }),
  ]) {
    behaviour.faults.mcp = fault;
    await mcp(pb, 'c', rpc());
    await rest(pb, 'c');
  }
  rig.server.heal();
  book.revokeAllGrants();
  rig.server.behaviour.faults.token = [oauthError('invalid_grant', 400, all())];
  await mcp(pb, 'c', rpc());
  await untilState(pb, 'c', 'auth_required');

  rig.server.behaviour.faults.token = [oauthError('invalid_grant', 400, all())];
  const refused = await walk(await setupUrlOf(pb, 'c'));
  expect(refused.at(-1)?.text).toContain('The login did not work');
  await walk(await setupUrlOf(pb, 'c'));
  await expectCallWorks(pb, 'c');
}

async function liveWithOwnClients(): Promise<void> {
  owned.book.clients.set('owned', { client_id: 'owned', client_secret: clientSecret, redirect_uris: [] });
  const usual = { grantType: 'client_credentials' };
  for (const client of [
    { issuer: owned.issuer, clientId: 'owned', clientSecret, ...usual },
    { issuer: real.issuer, clientId: 'keyed', privateKey: privateJwk, scope: 'read', ...usual },
  ]) {
    const added = await read(
      await pb.request('/namespaces/default/oauth-clients', { method: 'POST', json: client }),
    );
    expect(added.status).toBe(201);
  }
  await connect(pb, 'owned', owned.mcpUrl);
  await expectCallWorks(pb, 'owned');
  owned.book.expireAccessTokens();
  await expectCallWorks(pb, 'owned');
  await connect(pb, 'keyed', guarded.url);
  expect((await rest(pb, 'keyed', { text: 'hi' })).status).toBe(200);
}

/** Every answer that shows what is stored. */
async function readEverything(): Promise<void> {
  for (const path of ['webhooks', 'oauth-clients', 'settings']) {
    expect((await pb.request(`/namespaces/default/${path}`)).status).toBe(200);
  }
  for (const id of ['headers', 'inputs', 'c', 'owned', 'keyed']) {
    expect((await pb.request(`/connect/default/${id}`)).status).toBe(200);
    await pb.request(`/connect/default/${id}/.tools`);
  }
  await pb.request('/connect/default?limit=100');
  await pb.request('/connect/default/.tools');
  await until(() => receiver.received.length >= 4);
  answers.push(...receiver.received.map(({ body, headers }) => JSON.stringify({ body, headers })));
}

async function keepStored(): Promise<void> {
  for (const entry of await readdir(pb.dataDir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) stored.push(await readFile(join(entry.parentPath, entry.name)));
  }
  for (const { name } of await pb.store.db.introspection.getTables()) {
    const rows = await pb.store.db
      .selectFrom(name as 'facts')
      .selectAll()
      .execute();
    stored.push(Buffer.from(JSON.stringify(rows)));
  }
}

/** The values of a field in what an authorization server was sent. */
function sent(field: string, servers = [rig.server, owned]): string[] {
  return servers.flatMap(({ requests }) =>
    requests.flatMap(({ form, url }) => [...form.getAll(field), ...url.searchParams.getAll(field)]),
  );
}

/** What the fixtures handed out whose names begin with `kind`. */
function issued(kind: string): string[] {
  return [rig.server, owned].flatMap(({ book }) =>
    [...book.secrets].filter((secret) => secret.startsWith(kind)),
  );
}

/** What nobody but the server that it is for may see, by what it is. */
const secrets: Record<string, () => string[]> = {
  'values of headers': () => [headerValue],
  'values of inputs': () => [inputValue],
  'access tokens': () => [
    ...issued('access-'),
    ...new Set(guarded.calls.flatMap(({ token }) => token ?? [])),
  ],
  'refresh tokens': () => issued('refresh-'),
  'authorization codes': () => issued('code-'),
  'client secrets': () => [clientSecret, ...issued('client-secret-')],
  'private keys': () => [privateJwk.d as string],
  'PKCE verifiers': () => sent('code_verifier'),
  'webhook secrets': () => webhookSecrets,
  'our own keys': () => [masterKey, pb.key],
};

/** The ways in which a secret could lie there. */
function formsOf(secret: string): Buffer[] {
  const bytes = Buffer.from(secret);
  const base64 = bytes.toString('base64').replace(/=+$/, '').slice(0, -1);
  return [
    bytes,
    Buffer.from(secret, 'utf16le'),
    Buffer.from(bytes.toString('hex')),
    Buffer.from(encodeURIComponent(secret)),
    Buffer.from(base64),
  ];
}

function expectNowhere(secret: string, texts: readonly (string | Buffer)[]): void {
  for (const text of texts) {
    const bytes = Buffer.from(text);
    const isThere = formsOf(secret).some((form) => bytes.includes(form));
    expect(isThere ? `${secret} in ${bytes.toString('utf8').slice(0, 1000)}` : '').toBe('');
  }
}

describe.each(Object.entries(secrets))('%s', (_, list) => {
  let all: string[];
  beforeAll(() => {
    all = list();
    expect(all.length).toBeGreaterThan(0);
    expect(all.every((secret) => secret.length >= 16)).toBe(true);
  });

  it('are in the clear neither in files nor in rows', () => {
    for (const secret of all) expectNowhere(secret, stored);
  });

  it('are in no line of the log', () => {
    for (const secret of all) expectNowhere(secret, pb.logs);
  });

  it('are in no answer, no event and no page', () => {
    for (const secret of all) expectNowhere(secret, [...answers, ...pages]);
  });
});

describe('what belongs to a person who logs in', () => {
  it('is not stored and not logged: state, tickets, the cookie', () => {
    const states = sent('state');
    expect(states.length).toBeGreaterThan(3);
    expect(links.length).toBeGreaterThan(5);
    for (const secret of [...states, ...links]) expectNowhere(secret, [...stored, ...pb.logs]);
    for (const state of states) expectNowhere(state, answers);
  });
});

describe('the search itself', () => {
  it('finds what is no secret', () => {
    const found = (texts: readonly (string | Buffer)[], text: string) =>
      texts.some((one) => Buffer.from(one).includes(text));
    expect(found(stored, rig.server.mcpUrl)).toBe(true);
    expect(found(answers, rig.server.mcpUrl)).toBe(true);
    expect(found(pages, new URL(rig.server.issuer).host)).toBe(true);
    expect(found(pb.logs, 'connection.recovered')).toBe(true);
    expect(answers.length).toBeGreaterThan(40);
    if (!testsOnPostgres)
      expect(stored.reduce((sum, { length }) => sum + length, 0)).toBeGreaterThan(100_000);
  });

  it('has met every kind of secret more than once where it changes', () => {
    for (const kind of ['access tokens', 'refresh tokens', 'authorization codes', 'PKCE verifiers']) {
      expect(new Set(secrets[kind]?.()).size, kind).toBeGreaterThan(3);
    }
  });
});
