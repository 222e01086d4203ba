import { beforeAll, describe, expect, test } from 'vitest';
import { legacyServer, modernServer, RpcError, type Upstream } from '../fixtures/upstream.ts';
import { type RequestOptions, useContract } from './harness.ts';

const contract = useContract({ limits: { namespaceItems: 3 } });
let upstream: Upstream;

const mirrored = {
  name: 'query',
  inputSchema: { type: 'object', properties: { region: { type: 'string', 'x-mcp-header': 'Region' } } },
};

beforeAll(async () => {
  upstream = await contract.upstream(modernServer({ tools: [mirrored] }).handler);
  await contract.sdk().connections.set('db', { namespace: 'default', mcpUrl: upstream.url });
});

const post = (json: unknown, options: RequestOptions = {}) =>
  contract.request('/mcp/default', { method: 'POST', json, ...options });
const rpc = (method: string, params?: unknown) => ({ jsonrpc: '2.0', id: 'r', method, params });

describe('callers of the legacy era', () => {
  test.each([
    ['2025-03-26', '2025-03-26'],
    ['2025-06-18', '2025-06-18'],
    ['2025-11-25', '2025-11-25'],
    ['2024-11-05', '2025-11-25'],
    ['1999-01-01', '2025-11-25'],
  ])('that ask for %s get %s, and a session unless they want none', async (asked, given) => {
    const params = { protocolVersion: asked, capabilities: {}, clientInfo: { name: 'x', version: '1' } };
    const answer = await post(rpc('initialize', params));
    expect(answer).toMatchObject({
      status: 200,
      body: {
        id: 'r',
        result: {
          protocolVersion: given,
          capabilities: {
            tools: { listChanged: true },
            prompts: { listChanged: true },
            resources: { listChanged: true },
            completions: {},
          },
        },
      },
    });
    expect(answer.headers.get('mcp-session-id')).toMatch(/^[\x21-\x7e]+$/);
    const headers = { 'mcp-session-id': 'smithery-stateless' };
    const stateless = await post(rpc('initialize', params), { headers });
    expect(stateless.headers.has('mcp-session-id')).toBe(false);
  });

  test('have their notifications taken, and pings answered', async () => {
    for (const method of ['notifications/initialized', 'notifications/cancelled']) {
      expect(await post({ jsonrpc: '2.0', method })).toMatchObject({ status: 202, text: '' });
    }
    expect(await post(rpc('ping'))).toMatchObject({ status: 200, body: { id: 'r', result: {} } });
  });

  test.each(['resources/subscribe', 'logging/setLevel', 'server/discover', 'invented'])(
    'hear of the method %s that there is none, as a message: a 404 would end a session',
    async (method) => {
      const answer = await post(rpc(method));
      expect(answer).toMatchObject({ status: 200, body: { id: 'r', error: { code: -32601 } } });
    },
  );

  test('have no session: an id of one is 404, unless it says that there is none', async () => {
    const withSession = (id: string) => post(rpc('ping'), { headers: { 'mcp-session-id': id } });
    expect(await withSession('invented')).toMatchObject({ status: 404, body: { id: 'r' } });
    expect(await withSession('smithery-stateless')).toMatchObject({ status: 200 });
  });
});

describe('callers of the modern era', () => {
  const version = '2026-07-28';
  const meta = {
    'io.modelcontextprotocol/protocolVersion': version,
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const headers = { 'mcp-protocol-version': version };
  const ask = (
    method: string,
    params: object = {},
    extra: Record<string, string> = {},
    envelope: object = meta,
  ) =>
    post(rpc(method, { ...params, _meta: envelope }), {
      headers: { ...headers, 'mcp-method': method, ...extra },
    });
  const without = (key: string) =>
    Object.fromEntries(Object.entries(meta).filter(([name]) => !name.endsWith(key)));

  test('discover tools and nothing else', async () => {
    expect((await ask('server/discover')).body).toEqual({
      jsonrpc: '2.0',
      id: 'r',
      result: {
        resultType: 'complete',
        supportedVersions: [version],
        capabilities: {
          tools: { listChanged: true },
          prompts: { listChanged: true },
          resources: { listChanged: true },
          completions: {},
        },
        ttlMs: 0,
        cacheScope: 'private',
        _meta: { 'io.modelcontextprotocol/serverInfo': expect.objectContaining({ name: 'patchbay' }) },
      },
    });
  });

  test('get results with the members of their era', async () => {
    expect(await ask('tools/list')).toMatchObject({
      status: 200,
      body: {
        result: { resultType: 'complete', ttlMs: 0, cacheScope: 'private', tools: [{ name: 'db.query' }] },
      },
    });
  });

  test.each<[what: string, answer: () => Promise<unknown>, status: number, code: number]>([
    ['no Mcp-Method', () => post(rpc('tools/list', { _meta: meta }), { headers }), 400, -32020],
    ['another Mcp-Method', () => ask('tools/list', {}, { 'mcp-method': 'tools/call' }), 400, -32020],
    [
      'no version header',
      () => post(rpc('tools/list', { _meta: meta }), { headers: { 'mcp-method': 'tools/list' } }),
      400,
      -32020,
    ],
    [
      'another version header',
      () => ask('tools/list', {}, { 'mcp-protocol-version': '2025-11-25' }),
      400,
      -32020,
    ],
    ['no Mcp-Name', () => ask('tools/call', { name: 'db.query' }), 400, -32020],
    [
      'another Mcp-Name',
      () => ask('tools/call', { name: 'db.query' }, { 'mcp-name': 'db.other' }),
      400,
      -32020,
    ],
    ['no version in the body', () => ask('tools/list', {}, {}, without('protocolVersion')), 400, -32602],
    ['no capabilities', () => ask('tools/list', {}, {}, without('clientCapabilities')), 400, -32602],
    ['an unknown method', () => ask('logging/setLevel'), 404, -32601],
    ['a method of the legacy era', () => ask('ping'), 404, -32601],
  ])('with %s are refused', async (_what, answer, status, code) => {
    expect(await answer()).toMatchObject({ status, body: { id: 'r', error: { code } } });
  });

  test('of a later revision learn which there is', async () => {
    const later = '2027-01-01';
    const envelope = { ...meta, 'io.modelcontextprotocol/protocolVersion': later };
    expect(await ask('tools/list', {}, { 'mcp-protocol-version': later }, envelope)).toMatchObject({
      status: 400,
      body: { error: { code: -32022, data: { supported: [version], requested: later } } },
    });
  });

  test('mirror arguments as the tool asks, and so does Patchbay', async () => {
    const params = { name: 'db.query', arguments: { region: 'Zürich' } };
    const name = { 'mcp-name': 'db.query' };
    const region = `=?base64?${Buffer.from('Zürich').toString('base64')}?=`;
    for (const wrong of [{}, { 'mcp-param-region': 'Bern' }]) {
      expect(await ask('tools/call', params, { ...name, ...wrong })).toMatchObject({
        status: 400,
        body: { error: { code: -32020 } },
      });
    }
    upstream.received.length = 0;
    const answer = await ask('tools/call', params, { ...name, 'mcp-param-region': region });
    expect(answer).toMatchObject({ status: 200, body: { result: { resultType: 'complete' } } });
    expect(upstream.received.at(-1)?.headers).toMatchObject({
      'mcp-name': 'query',
      'mcp-param-region': region,
    });
  });

  test('may carry a session id left over, and name a tool in base64', async () => {
    const encoded = `=?base64?${Buffer.from('db.query').toString('base64')}?=`;
    const answer = await ask(
      'tools/call',
      { name: 'db.query' },
      { 'mcp-name': encoded, 'mcp-session-id': 'left-over' },
    );
    expect(answer.status).toBe(200);
  });
});

describe('what cannot be passed on', () => {
  test.each([-32020, -32021, -32022])(
    'an error of the hop to the upstream, %i, is told as such',
    async (code) => {
      const { handler } = modernServer({
        call: () => {
          throw new RpcError(code, 'needs elicitation');
        },
      });
      const picky = await contract.upstream(handler);
      const { name } = await contract.sdk().namespaces.create();
      await contract.sdk().connections.set('picky', { namespace: name, mcpUrl: picky.url });
      const json = rpc('tools/call', { name: 'picky.echo' });
      expect(await contract.request(`/mcp/${name}`, { method: 'POST', json })).toMatchObject({
        status: 422,
        body: { id: 'r', error: { code: 42202, message: expect.stringContaining('needs elicitation') } },
      });
    },
  );

  test('a connection with more tools than fit is left out as a whole, and named', async () => {
    const { name } = await contract.sdk().namespaces.create();
    for (const [id, count] of [
      ['a', 2],
      ['b', 2],
      ['c', 1],
    ] as const) {
      const tools = Array.from({ length: count }, (_, i) => ({ name: `t${i}` }));
      const { url } = await contract.upstream(legacyServer({ tools }).handler);
      await contract.sdk().connections.set(id, { namespace: name, mcpUrl: url });
    }
    const list = await contract.request(`/mcp/${name}`, { method: 'POST', json: rpc('tools/list') });
    expect(list.body).toMatchObject({
      result: {
        tools: [{ name: 'a.t0' }, { name: 'a.t1' }, { name: 'c.t0' }],
        _meta: { 'patchbay/unavailable': [{ connectionId: 'b', error: 'too_many_items' }] },
      },
    });
    const call = rpc('tools/call', { name: 'b.t1' });
    expect((await contract.request(`/mcp/${name}`, { method: 'POST', json: call })).status).toBe(200);
  });
});

describe('what nobody may send', () => {
  test.each(['GET', 'DELETE', 'PUT', 'PATCH'])('%s: 405 that allows POST', async (method) => {
    const answer = await contract.request('/mcp/default', { method });
    expect(answer).toMatchObject({ status: 405, body: { jsonrpc: '2.0' } });
    expect(answer.headers.get('allow')).toBe('POST');
  });

  test.each<[what: string, body: string, code: number]>([
    ['bad JSON', '{', -32700],
    ['nothing', '', -32700],
    ['nesting 10,000 deep', `${'['.repeat(10_000)}${']'.repeat(10_000)}`, -32700],
    ['a batch', JSON.stringify([rpc('ping')]), -32600],
    ['a response', JSON.stringify({ jsonrpc: '2.0', id: 1, result: {} }), -32600],
  ])('%s: 400', async (_what, body, code) => {
    const answer = await contract.request('/mcp/default', {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' },
    });
    expect(answer).toMatchObject({ status: 400, body: { id: null, error: { code } } });
  });

  test('no key: 401 with a challenge; another Origin: 403; no such namespace: 404', async () => {
    const anonymous = await post(rpc('ping'), { key: null });
    expect(anonymous.status).toBe(401);
    expect(anonymous.headers.get('www-authenticate')).toMatch(/^Bearer/);
    const headers = { origin: 'https://evil.example' };
    expect((await post(rpc('ping'), { headers })).status).toBe(403);
    expect((await contract.request('/mcp/nowhere', { method: 'POST', json: rpc('ping') })).status).toBe(404);
  });
});
