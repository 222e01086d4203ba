import { beforeAll, describe, expect, test } from 'vitest';
import { legacyServer, type Upstream } from '../fixtures/upstream.ts';
import { useContract } from './harness.ts';

/** The first tests of every endpoint: without a key, with a wrong one, with another organization's namespace. */
const contract = useContract();
const foreign = 'others-own';
const connectionId = 'theirs';
let otherKey: string;
let upstream: Upstream;

beforeAll(async () => {
  otherKey = (await contract.pb.store.otherOrganization(foreign)).key;
  upstream = await contract.upstream(legacyServer({ sessions: true }).handler);
  await contract
    .sdk({ apiKey: otherKey })
    .connections.set(connectionId, { namespace: foreign, mcpUrl: upstream.url });
  const { db } = contract.pb.store;
  const row = { namespace: foreign, created_at: Date.now() };
  await db
    .insertInto('oauth_clients')
    .values({ ...row, id: 'oac_theirs', applies_to: 'issuer:https://login.example', details: '{}' })
    .execute();
  await db
    .insertInto('webhooks')
    .values({ ...row, id: 'wh_theirs', url: 'https://theirs.example', events: '[]', sealed_secret: 'sealed' })
    .execute();
});

interface Endpoint {
  /** As the OpenAPI document has it. */
  operation: string;
  path: (namespace: string) => string;
  json?: unknown;
  errors: 'connect' | 'registry' | 'jsonrpc';
  /** What a good key gets for another organization's namespace; undefined where no namespace is named. */
  foreignStatus?: number;
}

const rpc = { jsonrpc: '2.0', id: 1, method: 'tools/list' };
const connect = (method: string, rest: string, template: string, json?: unknown): Endpoint[] =>
  ['/connect', ''].map((prefix) => ({
    operation: `${method} /connect/{namespace}${template}`,
    path: (namespace) => `${prefix}/${namespace}${rest}`,
    json,
    errors: rest.endsWith('/mcp') ? 'jsonrpc' : 'connect',
    foreignStatus: 404,
  }));

const ofNamespace = (method: string, rest: string, template = rest, json?: unknown): Endpoint => ({
  operation: `${method} /namespaces/{namespace}${template}`,
  path: (namespace) => `/namespaces/${namespace}${rest}`,
  json,
  errors: 'registry',
  foreignStatus: 404,
});

const one = `/${connectionId}`;
const endpoints: Endpoint[] = [
  ...connect('GET', '', ''),
  ...connect('POST', '', '', { mcpUrl: 'http://127.0.0.1:1/mcp' }),
  ...connect('GET', one, '/{connectionId}'),
  ...connect('PUT', one, '/{connectionId}', { name: 'mine now' }),
  ...connect('PUT', '/new-one', '/{connectionId}', { mcpUrl: 'http://127.0.0.1:1/mcp' }),
  ...connect('DELETE', one, '/{connectionId}'),
  ...connect('GET', '/.tools', '/.tools'),
  ...connect('GET', `${one}/.tools`, '/{connectionId}/.tools'),
  ...connect('GET', `${one}/.tools/echo`, '/{connectionId}/.tools/{toolPath}'),
  ...connect('POST', `${one}/.tools/echo`, '/{connectionId}/.tools/{toolPath}', {}),
  ...connect('POST', `${one}/.setup`, '/{connectionId}/.setup'),
  ...connect('GET', `${one}/.pins`, '/{connectionId}/.pins'),
  ...connect('POST', `${one}/.pins/accept`, '/{connectionId}/.pins/accept', { all: true }),
  ...connect('GET', `${one}/.settings`, '/{connectionId}/.settings'),
  ...connect('PATCH', `${one}/.settings`, '/{connectionId}/.settings', { maxCallMs: 1_000 }),
  ...connect('POST', `${one}/mcp`, '/{connectionId}/mcp', rpc),
  ...connect('GET', `${one}/mcp`, '/{connectionId}/mcp'),
  ...connect('DELETE', `${one}/mcp`, '/{connectionId}/mcp'),
  ...['POST', 'GET', 'DELETE'].map(
    (method): Endpoint => ({
      operation: `${method} /mcp/{namespace}`,
      path: (namespace) => `/mcp/${namespace}`,
      json: method === 'POST' ? rpc : undefined,
      errors: 'jsonrpc',
      foreignStatus: 404,
    }),
  ),
  { operation: 'GET /namespaces', path: () => '/namespaces', errors: 'registry' },
  { operation: 'POST /namespaces', path: () => '/namespaces', errors: 'registry' },
  {
    operation: 'PUT /namespaces/{name}',
    path: (namespace) => `/namespaces/${namespace}`,
    json: {},
    errors: 'registry',
    foreignStatus: 409,
  },
  {
    operation: 'DELETE /namespaces/{name}',
    path: (namespace) => `/namespaces/${namespace}`,
    errors: 'registry',
    foreignStatus: 404,
  },
  ofNamespace('GET', '/settings'),
  ofNamespace('PATCH', '/settings', '/settings', { returnUrls: ['https://mine.example/now'] }),
  ofNamespace('GET', '/oauth-clients'),
  ofNamespace('POST', '/oauth-clients', '/oauth-clients', {
    issuer: 'https://login.example.com',
    clientId: 'mine-now',
  }),
  ofNamespace('DELETE', '/oauth-clients/oac_theirs', '/oauth-clients/{clientId}'),
  ofNamespace('GET', '/webhooks'),
  ofNamespace('POST', '/webhooks', '/webhooks', { url: 'https://mine.example/hooks' }),
  ofNamespace('DELETE', '/webhooks/wh_theirs', '/webhooks/{webhookId}'),
  { operation: 'POST /tokens', path: () => '/tokens', json: {}, errors: 'connect' },
  { operation: 'DELETE /tokens/{id}', path: () => `/tokens/tok_${'x'.repeat(22)}`, errors: 'connect' },
  { operation: 'GET /organizations', path: () => '/organizations', errors: 'registry' },
  ...(['GET', 'POST', 'DELETE'] as const).map((method): Endpoint => {
    const rest = method === 'DELETE' ? '/key_theirs' : '';
    return {
      operation: `${method} /organizations/{orgId}/api-keys${rest && '/{keyId}'}`,
      path: () => `/organizations/org_theirs/api-keys${rest}`,
      json: method === 'POST' ? { name: 'mine' } : undefined,
      errors: 'registry',
    };
  }),
  ...(['GET', 'PATCH', 'DELETE'] as const).map((method): Endpoint => {
    const rest = method === 'GET' ? '' : '/usr_theirs';
    return {
      operation: `${method} /organizations/{orgId}/members${rest && '/{userId}'}`,
      path: () => `/organizations/org_theirs/members${rest}`,
      json: method === 'PATCH' ? { role: 'admin' } : undefined,
      errors: 'registry',
    };
  }),
  ...(['GET', 'POST', 'DELETE'] as const).map((method): Endpoint => {
    const rest = method === 'DELETE' ? '/inv_theirs' : '';
    return {
      operation: `${method} /organizations/{orgId}/invitations${rest && '/{invitationId}'}`,
      path: () => `/organizations/org_theirs/invitations${rest}`,
      json: method === 'POST' ? {} : undefined,
      errors: 'registry',
    };
  }),
  { operation: 'GET /audit', path: () => '/audit', errors: 'connect' },
  { operation: 'GET /audit/export', path: () => '/audit/export', errors: 'connect' },
  { operation: 'GET /servers', path: () => '/servers?pageSize=1', errors: 'registry' },
];

const open = [
  'GET /health',
  'GET /.well-known/jwks.json',
  'POST /api/auth/cli/session',
  'GET /api/auth/cli/poll/{sessionId}',
  'POST /api/auth/cli/session/{sessionId}/organization',
];

/** The error's text, wherever the shape of its area has it. */
function textOf(body: unknown, errors: Endpoint['errors']): string {
  const { error, message } = body as { error: string | { message: string }; message?: string };
  if (errors === 'connect') return message ?? '';
  return typeof error === 'string' ? error : error.message;
}

function ask({ operation, path, json }: Endpoint, namespace: string, key: string | null) {
  return contract.request(path(namespace), { method: operation.split(' ')[0] as string, json, key });
}

/** What the other organization has, to see that it stays. */
async function whatTheyHave(): Promise<unknown> {
  const { db } = contract.pb.store;
  const tables = ['connections', 'oauth_clients', 'webhooks'] as const;
  const rows = await Promise.all(
    tables.map((table) => db.selectFrom(table).selectAll().where('namespace', '=', foreign).execute()),
  );
  expect(rows.map(({ length }) => length)).toEqual([1, 1, 1]);
  const spaces = await db.selectFrom('namespaces').selectAll().where('name', '=', foreign).execute();
  return { rows, spaces };
}

const named = endpoints.map((endpoint) => ({
  name: `${endpoint.operation.split(' ')[0]} ${endpoint.path('{ns}')}`,
  endpoint,
}));

test('the matrix has every operation of the OpenAPI document', async () => {
  const { body } = await contract.request('/openapi.json', { key: null });
  const { paths } = body as { paths: Record<string, Record<string, unknown>> };
  const documented = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) =>
      `${method.toUpperCase()} ${path}`.replace(/\/\.tools\/.+$/, '/.tools/{toolPath}'),
    ),
  );
  const tested = new Set([...endpoints.map(({ operation }) => operation), ...open]);
  expect(documented.filter((operation) => !tested.has(operation))).toEqual([]);
});

describe('without a key', () => {
  test.each(named)('$name is 401', async ({ endpoint }) => {
    for (const namespace of ['default', foreign, 'nowhere']) {
      const answer = await ask(endpoint, namespace, null);
      expect(answer.status).toBe(401);
      expect(textOf(answer.body, endpoint.errors)).toMatch(/^Missing authentication token/);
      expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
    }
  });
});

describe('with a wrong key', () => {
  test.each(named)('$name is 401', async ({ endpoint }) => {
    // Also one that is right but for its last character, one cut short, and one made longer.
    const { key } = contract.pb;
    for (const wrong of ['wrong', `${key.slice(0, -1)}!`, key.slice(0, -1), `${key}x`, '%00']) {
      const answer = await ask(endpoint, 'default', wrong);
      expect([wrong, answer.status]).toEqual([wrong, 401]);
      expect(textOf(answer.body, endpoint.errors)).toMatch(/^Invalid API key or session token/);
      expect(answer.text).not.toContain(wrong === 'wrong' ? 'wrong' : key.slice(0, -1));
    }
  });

  test('a good key in another place or scheme is none', async () => {
    const { key } = contract.pb;
    const basic = Buffer.from(`${key}:`).toString('base64');
    for (const headers of [
      { authorization: `Basic ${basic}` },
      { authorization: key },
      { 'x-api-key': key },
      { cookie: `key=${key}` },
    ]) {
      const answer = await contract.request('/default', { key: null, headers });
      expect([headers, answer.status]).toEqual([headers, 401]);
    }
    expect((await contract.request(`/default?api_key=${key}`, { key: null })).status).toBe(401);
  });

  test('the scheme is read in any case', async () => {
    const headers = { authorization: `bearer ${contract.pb.key}` };
    expect((await contract.request('/default', { key: null, headers })).status).toBe(200);
  });
});

describe('with another organization’s namespace', () => {
  const inNamespace = named.filter(({ endpoint }) => endpoint.foreignStatus !== undefined);
  test.each(inNamespace)(
    '$name is refused as if it did not exist, and does nothing',
    async ({ endpoint }) => {
      const before = await whatTheyHave();
      upstream.received.length = 0;
      const answer = await ask(endpoint, foreign, contract.pb.key);
      expect(answer.status).toBe(endpoint.foreignStatus);
      expect(await whatTheyHave()).toEqual(before);
      expect(upstream.received).toEqual([]);
      if (endpoint.foreignStatus !== 404) return;
      // Nobody can learn from the answer that it is there.
      const nowhere = await ask(endpoint, 'not-there', contract.pb.key);
      expect({ status: answer.status, text: answer.text.replaceAll(foreign, '') }).toEqual({
        status: nowhere.status,
        text: nowhere.text.replaceAll('not-there', ''),
      });
    },
  );

  test('its owner is served, and our own namespaces are as far from them', async () => {
    expect((await contract.request(`/${foreign}/${connectionId}`, { key: otherKey })).status).toBe(200);
    for (const { endpoint } of inNamespace) {
      const answer = await ask(endpoint, 'default', otherKey);
      expect([endpoint.operation, answer.status]).toEqual([endpoint.operation, endpoint.foreignStatus]);
    }
  });
});

test('health, the document and its page are open to anyone', async () => {
  for (const path of ['/health', '/openapi.json', '/docs']) {
    for (const key of [null, 'wrong']) {
      expect([path, (await contract.request(path, { key })).status]).toEqual([path, 200]);
    }
  }
});

test('the pages of a setup need no key, and without a ticket do not tell what there is', async () => {
  const pages = await Promise.all(
    [`/${foreign}/${connectionId}/setup`, `/${foreign}/none/setup`, '/nowhere/none/setup?ticket=0.0.0'].map(
      (path) => contract.request(path, { key: null }),
    ),
  );
  for (const { status, text } of pages)
    expect({ status, text }).toEqual({ status: 404, text: pages[0]?.text });
  expect((await contract.request('/oauth/callback?state=x&code=y', { key: null })).status).toBe(410);
});

test('keys are kept as hashes, and shown in no log line', async () => {
  const rows = await contract.pb.store.db.selectFrom('api_keys').selectAll().execute();
  expect(rows.length).toBeGreaterThanOrEqual(2);
  expect(JSON.stringify(rows)).not.toContain(contract.pb.key);
  expect(contract.pb.logs.join('')).not.toContain(contract.pb.key);
});
