import diagnostics from 'node:diagnostics_channel';
import { request } from 'node:http';
import type { FastifyInstance, RouteOptions } from 'fastify';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { GrantedPermission, Permission } from '../../src/identity/principal.ts';
import { operations, resources } from '../../src/identity/tokens/constraint.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { legacyServer } from '../fixtures/upstream.ts';
import { useContract } from './harness.ts';

/**
 * Every route of the running server with every kind of credential. The routes are read from the framework as they are registered,
 * so that a new one is here by itself; what is expected follows from the permission that it declares.
 */

interface Route {
  method: string;
  url: string;
  permission: Permission;
  /** `in`: the path names a namespace that must be the caller's; `any`: one that need not exist. */
  namespace: 'in' | 'any' | undefined;
  /** Sessions of browsers count here. */
  takesCookies: boolean;
}

interface Credential {
  token: string | undefined;
  /** Instead: of a browser that is signed in, and from where it asks. */
  cookie?: string;
  site?: 'same-origin' | 'cross-site';
  /** No credential at all, or none that is good (any more). */
  bad?: true;
  /** An API key or session, of this organization or of another one. */
  key?: 'own' | 'foreign';
  /** Of a member who administers nothing. */
  role?: 'member';
  /** Permits this alone. */
  permission?: GrantedPermission;
  /** Permits nothing in the namespaces of the paths. */
  elsewhere?: true;
  /** Bound to metadata, which the connection of the paths has, or has not. */
  metadata?: 'match' | 'mismatch';
}

const routes: Route[] = [];
const watch = (message: unknown) => {
  const { fastify } = message as { fastify: FastifyInstance };
  fastify.addHook('onRoute', ({ method, url, config = {} }: RouteOptions) => {
    const { permission, inNamespace, namespaceParameter, errors, checkOrigin } = config;
    const takesCookies = errors !== 'jsonrpc' && !checkOrigin;
    const namespace = inNamespace ? 'in' : namespaceParameter === undefined ? undefined : 'any';
    for (const one of [method].flat()) {
      if (permission && one !== 'OPTIONS')
        routes.push({ method: one, url, permission, namespace, takesCookies });
    }
  });
};
diagnostics.subscribe('fastify.initialization', watch);
afterAll(() => {
  diagnostics.unsubscribe('fastify.initialization', watch);
});

let past = 0;
const contract = useContract({ clock: { ...systemClock, now: () => Date.now() - past } });
const rpc = { jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} };
const ada = { userId: 'ada' };

/** What routes need that look at the connection after the body. */
const bodies: Record<string, unknown> = {
  'POST /:namespace': { transport: 'uplink', metadata: ada },
  'PUT /:namespace/:connectionId': { name: 'renamed' },
  'PATCH /:namespace/:connectionId/.settings': { maxCallMs: 60_000 },
  'POST /:namespace/:connectionId/.pins/accept': { all: true },
  'POST /:namespace/:connectionId/mcp': rpc,
  'POST /mcp/:namespace/:connectionId': rpc,
  'POST /mcp/:namespace': rpc,
};

let organizationId: string;
let mcpUrl: string;
const spareKey = () => ({
  id: 'key_spare',
  organization_id: organizationId,
  name: 'spare',
  hash: 'none',
  created_at: Date.now(),
});

/** What the paths name is there again, whoever deleted it. */
async function restore(): Promise<void> {
  const { db } = contract.pb.store;
  await contract.request('/namespaces/spare', { method: 'PUT', json: {} });
  await contract.sdk().connections.set('c', { namespace: 'default', mcpUrl, metadata: ada });
  const own = { namespace: 'default', created_at: Date.now() };
  await db
    .insertInto('oauth_clients')
    .values({ ...own, id: 'oac_spare', applies_to: 'issuer:https://login.example', details: '{}' })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  await db
    .insertInto('webhooks')
    .values({ ...own, id: 'wh_spare', url: 'https://hooks.example', events: '[]', sealed_secret: 'sealed' })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  await db
    .insertInto('api_keys')
    .values(spareKey())
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  await db
    .insertInto('users')
    .values({ id: 'usr_spare', name: 'spare', email: null, issuer: null, subject: null, created_at: 0 })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  await db
    .insertInto('members')
    .values({ organization_id: organizationId, user_id: 'usr_spare', role: 'member', created_at: 0 })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  const invitation = { organization_id: organizationId, hash: 'none', role: 'member' as const };
  await db
    .insertInto('invitations')
    .values({ id: 'inv_spare', ...invitation, key_id: null, user_id: null, created_at: 0, expires_at: 4e12 })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

function pathOf(url: string): string {
  const values: Record<string, string> = {
    namespace: 'default',
    connectionId: 'c',
    name: 'spare',
    orgId: organizationId,
    keyId: 'key_spare',
    userId: 'usr_spare',
    invitationId: 'inv_spare',
    webhookId: 'wh_spare',
    clientId: 'oac_spare',
    sessionId: 'none',
    id: url.startsWith('/tokens/') ? 'tok_spare' : 'spare',
  };
  return url
    .replace(/:(\w+)/g, (_, name: string) => {
      const value = values[name];
      if (value === undefined) throw new Error(`no value for :${name} of ${url}; give it one here`);
      return value;
    })
    .replace('*', 'echo');
}

/** The status alone: some answers are streams that do not end. */
function ask({ method, url }: Route, { token, cookie, site }: Credential): Promise<number> {
  const body = bodies[`${method} ${url.replace(/^\/connect/, '')}`] ?? {};
  const hasBody = method === 'POST' || method === 'PUT' || method === 'PATCH';
  return new Promise((resolve, reject) => {
    const sent = request(new URL(pathOf(url), contract.url), {
      method,
      headers: {
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(cookie !== undefined && { cookie, 'sec-fetch-site': site }),
        ...(hasBody && { 'content-type': 'application/json' }),
        accept: 'application/json, text/event-stream',
      },
    });
    sent.on('error', reject).on('response', (response) => {
      resolve(response.statusCode as number);
      sent.destroy();
    });
    sent.end(hasBody ? JSON.stringify(body) : undefined);
  });
}

type Expectation = 'let in' | 'as without' | 'hidden' | 401 | 403 | 404 | 405;

function expected({ method, url, permission, namespace, takesCookies }: Route, who: Credential): Expectation {
  if (permission === 'public') return 'as without';
  if (who.bad || (who.cookie && !(takesCookies && who.site === 'same-origin'))) return 401;
  if (who.key === 'foreign') {
    if (namespace === 'any') return 'hidden';
    if (namespace === 'in') return 404;
    return url.includes(':orgId') ? 403 : 'let in';
  }
  if (who.role && permission === 'admin') return 403;
  // Others' keys are not there for a member, and other members are not theirs to remove.
  if (who.role && method === 'DELETE' && url.includes(':keyId')) return 404;
  if (who.role && method === 'DELETE' && url.includes(':userId')) return 403;
  if (who.key === 'own' || permission === 'authenticated') return 'let in';
  if (permission === 'admin' || permission === 'member') return 403;
  if (who.elsewhere && namespace) return 404;
  // It gets a name of its own, which is not that of another namespace.
  if (who.elsewhere && url === '/namespaces' && method === 'POST') return 403;
  if (who.permission && who.permission !== permission) return 403;
  if (who.metadata && !permission.startsWith('connections:')) return 403;
  if (who.metadata !== 'mismatch') return 'let in';
  // Without a session these say the same of every connection, and of none.
  if (/\/mcp(\/|$)/.test(url) && url.includes(':connectionId') && method !== 'POST') return 405;
  if (url.includes(':connectionId')) return 404;
  // Lists leave out what does not match; what is made must match.
  return method === 'POST' && permission === 'connections:write' ? 403 : 'let in';
}

/** How the answer is not as expected; undefined where it is. */
async function misfit(route: Route, who: Credential): Promise<string | undefined> {
  const status = await ask(route, who);
  const expectation = expected(route, who);
  const fits = await isAs(expectation, status, route);
  return fits ? undefined : `${status}, not ${expectation}`;
}

async function isAs(expectation: Expectation, status: number, route: Route): Promise<boolean> {
  switch (expectation) {
    case 'as without':
      return status === (await ask(route, { token: undefined }));
    case 'hidden':
      return status === 404 || status === 409;
    case 'let in': {
      const refusals = route.permission === 'authenticated' ? [401, 403, 429] : [401, 403, 404, 429];
      return !refusals.includes(status) && status < 500;
    }
    default:
      return status === expectation;
  }
}

/** The cells of the row of `who` that are not as expected. */
async function wrongCells(who: Credential): Promise<string[]> {
  const wrong: string[] = [];
  for (const route of routes) {
    const problem = await misfit(route, who);
    if (problem !== undefined) wrong.push(`${route.method} ${route.url}: ${problem}`);
    if (route.method === 'DELETE') await restore();
  }
  return wrong;
}

type Policy = Parameters<ReturnType<typeof contract.sdk>['tokens']['create']>[0];
const mint = async (policy: NonNullable<NonNullable<Policy>['policy']>, apiKey = contract.pb.key) =>
  (await contract.sdk({ apiKey }).tokens.create({ policy })).token;

beforeAll(async () => {
  const { body } = await contract.request('/organizations');
  organizationId = (body as { organizations: { id: string }[] }).organizations[0]?.id as string;
  mcpUrl = (await contract.upstream(legacyServer().handler)).url;
  await restore();
});

test('the matrix has every route, and they declare every kind of permission', () => {
  const names = routes.map(({ method, url }) => `${method} ${url}`);
  expect(new Set(names).size).toBe(names.length);
  expect(names).toEqual(
    expect.arrayContaining(['GET /connect/:namespace', 'GET /uplink/:namespace/:connectionId']),
  );
  const declared = new Set(routes.map(({ permission }) => permission));
  for (const permission of [
    'public',
    'authenticated',
    'member',
    'admin',
    'connections:execute',
    'servers:read',
  ]) {
    expect(declared).toContain(permission);
  }
});

test('docs/permissions.md says what each route needs', async () => {
  const rows = routes
    .filter(({ method, url }) => method !== 'HEAD' && !/^\/(docs\/|connect\/)/.test(url))
    .map(({ method, url, permission }) => `| \`${method} ${url}\` | \`${permission}\` |`);
  const page = [
    '# Permissions',
    '',
    'What each route needs, and `HEAD` as `GET` does. What begins with `/:namespace` is below `/connect` too. `public` needs no credential, `authenticated` any',
    'good one, `member` an API key or a signed-in browser, `admin` the key or session of an owner or admin, or a key of the organization itself',
    '([Organizations](organizations.md)); the others are what [service tokens](tokens.md) grant. A WebSocket handshake at',
    '`/:namespace/:connectionId` is one at `/uplink/:namespace/:connectionId`. In the OpenAPI document it is `x-permission`.',
    '',
    '| Route | Permission |',
    '|---|---|',
    ...rows,
    '',
  ];
  await expect(page.join('\n')).toMatchFileSnapshot('../../docs/permissions.md');
});

describe('every route answers as its permission says to', () => {
  test('nobody', async () => {
    expect(await wrongCells({ token: undefined, bad: true })).toEqual([]);
  });

  test('a key that is none', async () => {
    expect(await wrongCells({ token: 'pb_not-a-key', bad: true })).toEqual([]);
  });

  test('a token that has expired', async () => {
    past = 2 * 60 * 60_000;
    const token = await mint([{ ttl: '1h' }]);
    past = 0;
    expect(await wrongCells({ token, bad: true })).toEqual([]);
  });

  test('a token that was revoked, and its child', async () => {
    const answer = await contract.request('/tokens', { method: 'POST', json: {} });
    const { token } = answer.body as { token: string };
    const child = await mint([{}], token);
    const revoked = await contract.request(answer.headers.get('location') as string, { method: 'DELETE' });
    expect(revoked.status).toBe(200);
    for (const one of [token, child]) expect(await wrongCells({ token: one, bad: true })).toEqual([]);
  });

  test('a token of a key that was revoked', async () => {
    const path = `/organizations/${organizationId}/api-keys`;
    const made = await contract.request(path, { method: 'POST', json: { name: 'to be revoked' } });
    const { id, key } = made.body as { id: string; key: string };
    const token = await mint([{}], key);
    expect((await contract.request(`${path}/${id}`, { method: 'DELETE' })).status).toBe(200);
    for (const one of [key, token]) expect(await wrongCells({ token: one, bad: true })).toEqual([]);
  });

  test('an API key', async () => {
    expect(await wrongCells({ token: contract.pb.key, key: 'own' })).toEqual([]);
  });

  test('an API key of another organization, and its token', async () => {
    const { key } = await contract.pb.store.otherOrganization('theirs');
    expect(await wrongCells({ token: key, key: 'foreign' })).toEqual([]);
  });

  test('an API key of a member, and a session', async () => {
    const { key, keyId, userId } = await contract.pb.store.member(organizationId, 'member');
    const cookie = await contract.pb.store.session({ keyId, userId, organizationId });
    for (const one of [
      { token: key },
      { token: undefined, cookie, site: 'same-origin' },
    ] satisfies Credential[]) {
      expect(await wrongCells({ ...one, key: 'own', role: 'member' })).toEqual([]);
    }
  });

  test('a session of an owner, on a page of ours and on another one', async () => {
    const { userId } = await contract.pb.store.member(organizationId, 'owner');
    const cookie = await contract.pb.store.session({ keyId: null, userId, organizationId });
    for (const site of ['same-origin', 'cross-site'] as const) {
      expect(await wrongCells({ token: undefined, cookie, site, key: 'own' })).toEqual([]);
    }
  });

  const permissions = resources.flatMap((resource) =>
    operations.map((operation) => ({ resource, operation })),
  );
  test.each(permissions)('a token with $resource:$operation alone, and its child', async (only) => {
    const token = await mint([{ resources: only.resource, operations: only.operation }]);
    const child = await mint([{}], token);
    const permission: GrantedPermission = `${only.resource}:${only.operation}`;
    for (const one of [token, child]) expect(await wrongCells({ token: one, permission })).toEqual([]);
  });

  test('a child that claims what its parent has not', async () => {
    const parent = await mint([{ resources: 'connections', operations: 'read' }]);
    const token = await mint(
      [{ resources: 'connections', operations: ['read', 'write', 'execute'] }],
      parent,
    );
    expect(await wrongCells({ token, permission: 'connections:read' })).toEqual([]);
  });

  test('a token for another namespace, and its child that claims this one', async () => {
    const token = await mint([{ namespaces: 'elsewhere' }]);
    const child = await mint([{ namespaces: ['default', 'spare'] }], token);
    for (const one of [token, child]) expect(await wrongCells({ token: one, elsewhere: true })).toEqual([]);
  });

  test('a token for connections with this metadata', async () => {
    const token = await mint([{ metadata: ada }]);
    expect(await wrongCells({ token, metadata: 'match' })).toEqual([]);
  });

  test('a token for connections with other metadata, and its child that claims this one', async () => {
    const token = await mint([{ metadata: { userId: 'bob' } }]);
    const child = await mint([{ metadata: ada }], token);
    for (const one of [token, child])
      expect(await wrongCells({ token: one, metadata: 'mismatch' })).toEqual([]);
  });
});
