import { createHash, randomBytes } from 'node:crypto';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import type { TokenCreateParams } from '@smithery/api/resources/tokens';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { beforeAll, describe, expect, test } from 'vitest';
import { startSessionServer } from '../fixtures/session-server.ts';
import { SteppedClock } from '../fixtures/stepped-clock.ts';
import { legacyServer, type Upstream } from '../fixtures/upstream.ts';
import { refusal, useContract } from './harness.ts';

const clock = new SteppedClock();
const contract = useContract({ clock });
const namespace = 'default';
const second = 'second-space';
const ada = { userId: 'ada' };
const bob = { userId: 'bob' };
let upstream: Upstream;

type Policy = NonNullable<TokenCreateParams['policy']>;

/** A token of the SDK's user, or of the holder of another token. */
async function mint(policy?: Policy, apiKey?: string): Promise<string> {
  const { tokens } = contract.sdk(apiKey === undefined ? {} : { apiKey });
  return (await tokens.create(policy ? { policy } : {})).token;
}

const as = (token: string) => contract.sdk({ apiKey: token }).connections;
const tool = (token: string, id: string) =>
  contract.request(`/connect/${namespace}/${id}/.tools/echo`, { method: 'POST', json: {}, key: token });
const rpc = (method: string, params: object = {}) => ({ jsonrpc: '2.0', id: 1, method, params });
const mcp = (token: string, path: string, message: object) =>
  contract.request(path, { method: 'POST', json: message, key: token });

beforeAll(async () => {
  upstream = await contract.upstream(
    legacyServer({ call: (name) => ({ content: [{ type: 'text', text: name }] }) }).handler,
  );
  const { connections, namespaces } = contract.sdk();
  await namespaces.set(second, {});
  for (const [id, metadata] of Object.entries({ ada, bob, nobody: undefined })) {
    clock.step(1);
    await connections.set(id, { namespace, mcpUrl: upstream.url, ...(metadata && { metadata }) });
  }
  await connections.set('ada', { namespace: second, mcpUrl: upstream.url, metadata: ada });
});

describe('minting', () => {
  test('the SDK gets a token that does what the key does, for an hour', async () => {
    const { token, expiresAt } = await contract.sdk().tokens.create();
    expect(Date.parse(expiresAt)).toBeGreaterThan(clock.now() + 3_598_000);
    expect(Date.parse(expiresAt)).toBeLessThanOrEqual(clock.now() + 3_600_000);
    expect((await as(token).list(namespace)).connections).toHaveLength(3);
    expect((await tool(token, 'bob')).status).toBe(200);
    const made = await contract.request('/namespaces', { method: 'POST', key: token });
    expect(made.status).toBe(201);
  });

  test('the vendor’s documented examples work', async () => {
    const { token } = await contract.sdk().tokens.create({
      policy: [
        {
          namespaces: namespace,
          resources: 'connections',
          operations: ['read', 'execute'],
          metadata: ada,
          ttl: '20m',
        },
      ],
    });
    expect((await as(token).list(namespace)).connections.map(({ connectionId }) => connectionId)).toEqual([
      'ada',
    ]);
    expect((await as(token).get('ada', { namespace })).metadata).toEqual(ada);
    expect((await tool(token, 'ada')).status).toBe(200);
  });

  test('the header names the token for its revocation', async () => {
    const answer = await contract.request('/tokens', { method: 'POST' });
    const { token } = answer.body as { token: string };
    expect(answer.headers.get('location')).toBe(`/tokens/${decodeJwt(token).jti}`);
    expect(contract.pb.logs.join('')).not.toContain(token);
  });

  test.each([
    [{ policy: [] }, /^policy:/],
    [{ policy: {} }, /^policy:/],
    [{ policy: [{ surprise: 1 }] }, /surprise/],
    [{ policy: [{ namespaces: [] }] }, /^policy\.0\.namespaces/],
    [{ policy: [{ operations: ['delete'] }] }, /^policy\.0\.operations/],
    [{ policy: [{ resources: 'tokens' }] }, /^policy\.0\.resources/],
    // A lost value must not make a token for everybody's connections.
    [{ policy: [{ metadata: {} }] }, /^policy\.0\.metadata/],
    [{ policy: [{ metadata: [] }] }, /^policy\.0\.metadata/],
    [{ policy: [{ metadata: { userId: 7 } }] }, /^policy\.0\.metadata/],
    [{ policy: [{ metadata: ada, ttl: '25h' }] }, /^policy\.0\.ttl: must be at most 24 hours/],
    [{ policy: [{ ttl: '1 hour' }] }, /^policy\.0\.ttl/],
    [{ policy: [{ ttl: 0 }] }, /^policy\.0\.ttl/],
    [{ policy: [{ metadata: { userId: 'x'.repeat(7_000) } }] }, /^policy: .*6144 bytes/],
    [{ permissions: {}, ttlSeconds: 60 }, /permissions|ttlSeconds/],
    [null, /body/],
  ])('%j is refused, and its field named', async (json, message) => {
    const answer = await contract.request('/tokens', { method: 'POST', json });
    expect(answer.status).toBe(400);
    expect(answer.body).toEqual({ error: 'validation_error', message: expect.stringMatching(message) });
  });

  test('an organization is the caller’s own or refused, whether it exists or not', async () => {
    const { organizationId } = await contract.pb.store.otherOrganization('foreign-space');
    const own = await contract.pb.store.db.selectFrom('facts').selectAll().execute();
    const mine = own.find(({ name }) => name === 'first_organization')?.value as string;
    expect((await contract.sdk().tokens.create({ organizationId: mine })).token).toBeTruthy();
    for (const other of [organizationId, 'org_none']) {
      const { status, body } = await refusal(contract.sdk().tokens.create({ organizationId: other }));
      expect([status, body]).toEqual([403, { error: 'forbidden', message: expect.any(String) }]);
    }
  });
});

describe('a token bound to metadata', () => {
  test('sees its connections alone, and others as if they did not exist', async () => {
    const token = await mint([{ metadata: ada }]);
    expect((await as(token).list(namespace)).connections.map(({ connectionId }) => connectionId)).toEqual([
      'ada',
    ]);
    expect((await as(token).list(namespace, { 'metadata.userId': 'bob' } as never)).connections).toEqual([]);
    const none = await refusal(as(token).get('not-there', { namespace }));
    for (const id of ['bob', 'nobody']) {
      expect(await refusal(as(token).get(id, { namespace }))).toMatchObject({ status: 404, body: none.body });
      for (const [method, path, json] of [
        ['DELETE', `/connect/${namespace}/${id}`],
        ['PUT', `/connect/${namespace}/${id}`, { metadata: ada }],
        ['GET', `/connect/${namespace}/${id}/.settings`],
        ['PATCH', `/connect/${namespace}/${id}/.settings`, { maxCallMs: 1_000 }],
        ['POST', `/connect/${namespace}/${id}/.setup`, {}],
        ['GET', `/connect/${namespace}/${id}/.tools`],
        ['GET', `/connect/${namespace}/${id}/.tools/echo`],
        ['POST', `/connect/${namespace}/${id}/.tools/echo`, {}],
        ['POST', `/connect/${namespace}/${id}/mcp`, rpc('tools/list')],
        ['POST', `/mcp/${namespace}/${id}`, rpc('tools/list')],
        ['DELETE', `/mcp/${namespace}/${id}`],
      ] as [string, string, object?][]) {
        const headers = method === 'DELETE' && path.startsWith('/mcp') ? { 'mcp-session-id': 'x' } : {};
        const answer = await contract.request(path, { method, json, headers, key: token });
        expect([method, path, answer.status]).toEqual([method, path, 404]);
      }
    }
    expect((await contract.sdk().connections.get('bob', { namespace })).metadata).toEqual(bob);
    expect((await contract.sdk().connections.get('nobody', { namespace })).metadata).toBeNull();
  });

  test('has the tools of its connections alone, over REST and at the endpoint of the namespace', async () => {
    const token = await mint([{ metadata: ada }]);
    const path = `/mcp/${namespace}`;
    expect(
      Object.keys((await contract.request(`/${namespace}/.tools`, { key: token })).body as object),
    ).toEqual(['ada']);
    const listed = await mcp(token, path, rpc('tools/list'));
    expect(listed.body).toMatchObject({ result: { tools: [{ name: 'ada.echo' }] } });
    expect((listed.body as { result: { tools: unknown[] } }).result.tools).toHaveLength(1);
    expect((await mcp(token, path, rpc('tools/call', { name: 'ada.echo' }))).body).toHaveProperty('result');
    const before = upstream.received.length;
    for (const name of ['bob.echo', 'nobody.echo', 'none.echo']) {
      expect((await mcp(token, path, rpc('tools/call', { name }))).body).toMatchObject({
        error: { code: -32602, message: `Unknown tool: ${name}` },
      });
    }
    expect(upstream.received).toHaveLength(before);
  });

  test('writes no connection that it could not write again', async () => {
    const token = await mint([{ metadata: ada }]);
    const { mcpUrl } = { mcpUrl: upstream.url };
    for (const metadata of [bob, {}, undefined]) {
      const body = { mcpUrl, ...(metadata && { metadata }) };
      const { status, message } = await refusal(as(token).create(namespace, body));
      expect([metadata, status]).toEqual([metadata, 403]);
      expect(message).toMatch(/Missing required permission: connections:write in namespace default/);
      expect((await refusal(as(token).set('fresh', { namespace, ...body }))).status).toBe(403);
    }
    const { status } = await refusal(as(token).set('ada', { namespace, metadata: bob }));
    expect(status).toBe(403);
    const made = await as(token).create(namespace, { mcpUrl, metadata: { ...ada, more: 1 } });
    await as(token).set(made.connectionId, { namespace, name: 'mine' });
    await as(token).delete(made.connectionId, { namespace });
    const { connections } = await contract.sdk().connections.list(namespace);
    expect(connections.map(({ connectionId, metadata }) => [connectionId, metadata])).toEqual([
      ['ada', ada],
      ['bob', bob],
      ['nobody', null],
    ]);
  });

  test('pages over its matches alone, each page full', async () => {
    const { connections, namespaces } = contract.sdk();
    await namespaces.set('many-pages', {});
    for (let i = 0; i < 15; i++) {
      clock.step(1);
      const metadata = { userId: i % 3 === 0 ? 'ada' : 'bob', n: i };
      await connections.set(`c${i}`, { namespace: 'many-pages', mcpUrl: upstream.url, metadata });
    }
    const token = await mint([{ metadata: [{ userId: 'ada' }, { n: '1' }, { userId: 'bob', n: '2' }] }]);
    const pages: string[][] = [];
    let cursor: string | null | undefined;
    do {
      const page = await as(token).list('many-pages', { limit: 3, ...(cursor ? { cursor } : {}) });
      pages.push(page.connections.map(({ connectionId }) => connectionId));
      cursor = page.nextCursor;
    } while (cursor);
    expect(pages).toEqual([['c0', 'c1', 'c2'], ['c3', 'c6', 'c9'], ['c12']]);
    await namespaces.delete('many-pages');
  }, 120_000);

  test('has nothing to do with what has no metadata', async () => {
    const token = await mint([{ metadata: ada }]);
    for (const [method, path, json] of [
      ['GET', '/namespaces'],
      ['POST', '/namespaces'],
      ['PUT', `/namespaces/${namespace}`, {}],
      ['DELETE', `/namespaces/${namespace}`],
      ['GET', `/namespaces/${namespace}/settings`],
      ['PATCH', `/namespaces/${namespace}/settings`, {}],
      ['GET', `/namespaces/${namespace}/webhooks`],
      ['GET', `/namespaces/${namespace}/oauth-clients`],
      ['GET', '/servers'],
    ] as [string, string, object?][]) {
      const answer = await contract.request(path, { method, json, key: token });
      expect([method, path, answer.status]).toEqual([method, path, 403]);
      expect(answer.body).toEqual({ error: expect.stringMatching(/^Missing required permission: /) });
    }
  });
});

describe('a token bound to namespaces, resources and operations', () => {
  test('finds no other namespace, in the words of one that does not exist', async () => {
    const token = await mint([{ namespaces: second }]);
    expect((await as(token).list(second)).connections).toHaveLength(1);
    const nowhere = await contract.request('/connect/nowhere', { key: token });
    const others = await contract.request(`/connect/${namespace}`, { key: token });
    expect([others.status, others.text]).toEqual([404, nowhere.text]);
    expect((await mcp(token, `/mcp/${namespace}`, rpc('tools/list'))).status).toBe(404);
    const { namespaces } = await contract.sdk({ apiKey: token }).namespaces.list();
    expect(namespaces.map(({ name }) => name)).toEqual([second]);
    const search = await contract.request('/namespaces?page=1', { key: token });
    expect(search.body).toMatchObject({ namespaces: [{ name: second }], pagination: { totalCount: 1 } });
    expect(
      (await contract.request('/namespaces/brand-new', { method: 'PUT', json: {}, key: token })).status,
    ).toBe(404);
    expect((await contract.request('/namespaces', { method: 'POST', key: token })).status).toBe(403);
  });

  test('is told which permission it lacks where it may see', async () => {
    const reader = await mint([{ namespaces: namespace, resources: 'connections', operations: 'read' }]);
    const deleted = await refusal(as(reader).delete('ada', { namespace }));
    expect([deleted.status, deleted.body]).toEqual([
      403,
      { error: 'forbidden', message: 'Missing required permission: connections:write in namespace default' },
    ]);
    expect((await tool(reader, 'ada')).body).toEqual({
      error: 'forbidden',
      message: 'Missing required permission: connections:execute in namespace default',
    });
    expect((await mcp(reader, `/connect/${namespace}/ada/mcp`, rpc('tools/list'))).body).toMatchObject({
      error: {
        code: 40301,
        message: 'Missing required permission: connections:execute in namespace default',
      },
    });
    expect((await contract.request('/servers', { key: reader })).body).toEqual({
      error: 'Missing required permission: servers:read',
    });
  });

  test('one that may read some and execute others is told so', async () => {
    const token = await mint([
      { operations: 'read', resources: 'connections' },
      { operations: 'execute', metadata: ada },
    ]);
    expect((await as(token).list(namespace)).connections).toHaveLength(3);
    expect((await tool(token, 'ada')).status).toBe(200);
    expect((await tool(token, 'bob')).status).toBe(403);
    const { body } = await contract.request(`/${namespace}/.tools`, { key: token });
    expect(Object.keys(body as object)).toEqual(['ada']);
    const called = await mcp(token, `/mcp/${namespace}`, rpc('tools/call', { name: 'bob.echo' }));
    expect(called).toMatchObject({ status: 403, body: { error: { code: 40301 } } });
  });
});

describe('a token minted from a token', () => {
  test('never does more, whatever it asks for, and ends no later', async () => {
    const parent = await contract.sdk().tokens.create({ policy: [{ metadata: ada, ttl: 600 }] });
    const child = await contract
      .sdk({ apiKey: parent.token })
      .tokens.create({ policy: [{ ttl: '24h' }, { metadata: bob, ttl: '24h' }] });
    expect(child.expiresAt).toBe(parent.expiresAt);
    expect(
      (await as(child.token).list(namespace)).connections.map(({ connectionId }) => connectionId),
    ).toEqual(['ada']);
    const narrower = await mint([{ operations: 'read' }], child.token);
    expect((await tool(narrower, 'ada')).status).toBe(403);
    const contradictory = await mint([{ metadata: bob }], parent.token);
    expect((await as(contradictory).list(namespace)).connections).toEqual([]);
    expect((await refusal(as(contradictory).get('bob', { namespace }))).status).toBe(404);
  });

  test('has an end to its generations, and to the size of its policies', async () => {
    let token = await mint([{ ttl: '2h' }]);
    for (let generation = 0; generation < 8; generation++) token = await mint(undefined, token);
    expect((await refusal(contract.sdk({ apiKey: token }).tokens.create())).status).toBe(400);
    const large = await mint([{ metadata: { userId: 'x'.repeat(4_000) } }]);
    const asked = contract
      .sdk({ apiKey: large })
      .tokens.create({ policy: [{ metadata: { team: 'x'.repeat(4_000) } }] });
    expect((await refusal(asked)).message).toMatch(/policies of all tokens/);
  });
});

describe('a session', () => {
  test('goes on with a renewed token, and with no other', async () => {
    const server = await startSessionServer();
    try {
      await contract.sdk().connections.set('kept', { namespace, mcpUrl: server.url, metadata: ada });
      const path = `/connect/${namespace}/kept/mcp`;
      const policy: Policy = [{ metadata: ada, operations: ['execute', 'read'] }];
      const first = await mint(policy);
      const initialize = rpc('initialize', {
        protocolVersion: '2025-11-25',
        capabilities: {},
        clientInfo: { name: 'test', version: '1' },
      });
      const opened = await mcp(first, path, initialize);
      const session = opened.headers.get('mcp-session-id') as string;
      expect(session).toBeTruthy();
      const list = async (key: string) =>
        (
          await contract.request(path, {
            method: 'POST',
            json: rpc('tools/list'),
            headers: { 'mcp-session-id': session, accept: 'application/json, text/event-stream' },
            key,
          })
        ).status;
      const renewed = await mint([{ operations: ['read', 'execute'], metadata: [ada], ttl: '2h' }]);
      for (const key of [first, renewed, await mint(undefined, renewed), await mint(policy, first)]) {
        expect(await list(key)).toBe(200);
      }
      const narrower = await mint([{ operations: 'execute' }], first);
      for (const key of [contract.pb.key, await mint(), await mint([{ metadata: ada }]), narrower]) {
        expect(await list(key)).toBe(404);
      }
    } finally {
      await contract.sdk().connections.delete('kept', { namespace });
      await server.stop();
    }
  });

  test('of the MCP SDK works with a token', async () => {
    const token = await mint([{ metadata: ada, operations: 'execute' }]);
    const client = new Client({ name: 'test', version: '1' });
    const url = new URL(`${contract.url}/connect/${namespace}/ada/mcp`);
    await client.connect(
      new StreamableHTTPClientTransport(url, {
        requestInit: { headers: { authorization: `Bearer ${token}` } },
      }),
    );
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['echo']);
    await client.close();
  });
});

describe('the end of a token', () => {
  const unauthorized = (why: string) => ({
    error: 'invalid_token',
    message: `Invalid API key or session token: ${why}.`,
  });

  test('comes with its time, though it was remembered', async () => {
    const token = await mint([{ ttl: '20s' }]);
    expect((await contract.request('/default', { key: token })).status).toBe(200);
    clock.step(20_000);
    const answer = await contract.request('/default', { key: token });
    expect([answer.status, answer.body]).toEqual([401, unauthorized('it has expired')]);
    expect(answer.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"');
    expect((await refusal(contract.sdk({ apiKey: token }).tokens.create())).status).toBe(401);
  });

  test('comes at once when it, or one that it descends from, is revoked', async () => {
    const parent = await mint();
    const child = await mint(undefined, parent);
    const other = await mint();
    const revoke = (token: string, key?: string) =>
      contract.request(`/tokens/${decodeJwt(token).jti}`, { method: 'DELETE', ...(key ? { key } : {}) });
    for (const token of [parent, child, other]) {
      expect((await contract.request('/default', { key: token })).status).toBe(200);
    }
    // A token may end itself alone, and another organization nothing of ours.
    expect((await revoke(parent, other)).status).toBe(404);
    const foreign = await contract.pb.store.otherOrganization('far-away');
    expect((await revoke(parent, foreign.key)).status).toBe(200);
    expect((await contract.request('/default', { key: parent })).status).toBe(200);

    expect((await revoke(parent)).body).toEqual({ success: true });
    for (const token of [parent, child]) {
      const answer = await contract.request('/default', { key: token });
      expect([answer.status, answer.body]).toEqual([401, unauthorized('it was revoked')]);
    }
    expect((await contract.request('/default', { key: other })).status).toBe(200);
    expect((await revoke(other, other)).status).toBe(200);
    expect((await contract.request('/default', { key: other })).status).toBe(401);
    expect((await contract.request('/tokens/none', { method: 'DELETE' })).status).toBe(404);
    clock.step(24 * 3_600_000);
    await revoke(await mint());
    const rows = await contract.pb.store.db.selectFrom('revoked_tokens').selectAll().execute();
    expect(rows).toHaveLength(1);
  });
});

describe('a forged token', () => {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signatureOf = (token: string) => token.split('.')[2] as string;
  const bodyOf = (token: string) => token.split('.')[1] as string;
  const headOf = (token: string) => token.split('.')[0] as string;

  async function expectRefused(token: string): Promise<void> {
    const answer = await contract.request('/default', { key: token });
    expect([token.slice(0, 40), answer.status]).toEqual([token.slice(0, 40), 401]);
    expect(answer.body).toMatchObject({ error: 'invalid_token' });
    expect(answer.text.length).toBeLessThan(200);
  }

  test('is refused, whatever was changed', async () => {
    const token = await mint([{ metadata: ada }]);
    const all = await mint();
    const header = decodeProtectedHeader(token);
    const claims = decodeJwt(token);
    const { keys } = (await contract.request('/.well-known/jwks.json', { key: null })).body as {
      keys: [{ x: string }];
    };
    await expectRefused(`${part({ ...header, alg: 'none' })}.${bodyOf(token)}.`);
    await expectRefused(`${part({ ...header, alg: 'none' })}.${bodyOf(token)}.${signatureOf(token)}`);
    for (const changed of [
      { ...header, alg: 'HS256' },
      { ...header, alg: 'ES256' },
      { ...header, alg: undefined },
      { ...header, kid: 'another' },
      { ...header, kid: '../../dev/null' },
      { ...header, kid: undefined },
      { ...header, typ: 'JWT' },
      { ...header, typ: undefined },
      { ...header, crit: ['exp'] },
      { ...header, jwk: keys[0] },
    ]) {
      await expectRefused(`${part(changed)}.${bodyOf(token)}.${signatureOf(token)}`);
    }
    // The public key as the secret of an HMAC.
    const hmac = `${part({ ...header, alg: 'HS256' })}.${bodyOf(token)}`;
    const mac = createHash('sha256').update(keys[0].x).update(hmac).digest('base64url');
    await expectRefused(`${hmac}.${mac}`);
    for (const changed of [
      { ...claims, policies: [] },
      { ...claims, exp: (claims.exp as number) + 1 },
      { ...claims, iss: 'https://other.example' },
      { ...claims, sub: 'key_other' },
    ]) {
      await expectRefused(`${headOf(token)}.${part(changed)}.${signatureOf(token)}`);
    }
    await expectRefused(`${headOf(token)}.${bodyOf(all)}.${signatureOf(token)}`);
    await expectRefused(`${headOf(token)}.${bodyOf(token)}.${signatureOf(all)}`);
    await expectRefused(token.slice(0, -2));
    await expectRefused(`${token}x`);
    await expectRefused(`${token}.x`);
    await expectRefused(`${headOf(token)}.${bodyOf(token)}.${randomBytes(64).toString('base64url')}`);
    expect((await contract.request('/default', { key: token })).status).toBe(200);
  });

  test('of 100 kB is 431, and what no policy can fill comes through', async () => {
    const long = `${await mint()}${'x'.repeat(100_000)}`;
    expect(
      (await fetch(`${contract.url}/default`, { headers: { authorization: `Bearer ${long}` } })).status,
    ).toBe(431);
    const metadata = Array.from({ length: 6 }, (_, i) => ({ userId: String(i).repeat(900) }));
    const largest = await mint([{ metadata: [...metadata, ada], ttl: '1h' }]);
    expect((await as(largest).list(namespace)).connections.map(({ connectionId }) => connectionId)).toEqual([
      'ada',
    ]);
  });

  test('the public keys are published, and nothing of the private ones', async () => {
    const token = await mint();
    const { status, body, text } = await contract.request('/.well-known/jwks.json', { key: null });
    expect(status).toBe(200);
    const { kid } = decodeProtectedHeader(token);
    expect((body as { keys: object[] }).keys).toContainEqual({
      kty: 'OKP',
      crv: 'Ed25519',
      x: expect.any(String),
      kid,
      alg: 'EdDSA',
      use: 'sig',
    });
    expect(text).not.toMatch(/"d"/);
    const rows = await contract.pb.store.db.selectFrom('signing_keys').selectAll().execute();
    expect(rows.every(({ wrapped }) => wrapped === null || !/"|\{/.test(wrapped))).toBe(true);
  });
});

test('the audit says which token did it, and from which key', async () => {
  const token = await mint([{ metadata: ada }]);
  await tool(token, 'ada');
  clock.step(10_000);
  const { jti, sub } = decodeJwt(token);
  await expect
    .poll(() =>
      contract.pb.store.db
        .selectFrom('audit')
        .selectAll()
        .where('token_id', '=', jti as string)
        .execute(),
    )
    .toMatchObject([{ principal_kind: 'service_token', key_id: sub, method: 'tools/call', outcome: 'ok' }]);
});
