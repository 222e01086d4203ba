import { beforeAll, describe, expect, test } from 'vitest';
import { legacyServer, sendJson, type Upstream } from '../fixtures/upstream.ts';
import { refusal, useContract } from './harness.ts';
import { storeStatus } from './stored-status.ts';

const contract = useContract();
const namespace = 'default';
let upstream: Upstream;
beforeAll(async () => {
  upstream = await contract.upstream(legacyServer().handler);
});

/** The headers of the newest upstream request. */
const lastHeaders = () => upstream.received.at(-1)?.headers;

describe('PUT /{namespace}/{connectionId}', () => {
  test('answers 201 when it creates and 200 when it updates', async () => {
    const json = { mcpUrl: upstream.url };
    const made = await contract.request('/default/set-twice', { method: 'PUT', json });
    expect(made).toMatchObject({
      status: 201,
      body: { connectionId: 'set-twice', name: 'set-twice', metadata: null, status: { state: 'connected' } },
    });
    const again = await contract.request('/default/set-twice', { method: 'PUT', json });
    expect(again.status).toBe(200);
    expect(again.body).toEqual(made.body);
  });

  test('keeps what is left out', async () => {
    const { connections } = contract.sdk();
    const first = await connections.set('keeps', {
      namespace,
      mcpUrl: upstream.url,
      name: 'The name',
      metadata: { userId: 'u1' },
      headers: { 'X-Token': 'kept' },
    });
    expect(await connections.set('keeps', { namespace })).toEqual(first);
    expect(lastHeaders()).toMatchObject({ 'x-token': 'kept' });
    const renamed = await connections.set('keeps', { namespace, name: 'Another name' });
    expect(renamed).toEqual({ ...first, name: 'Another name' });
  });

  test('keeps everything when there is no body', async () => {
    const first = await contract
      .sdk()
      .connections.set('no-body', { namespace, mcpUrl: upstream.url, name: 'N' });
    const answer = await contract.request('/default/no-body', { method: 'PUT' });
    expect(answer).toMatchObject({ status: 200, body: first });
  });

  test('replaces metadata as a whole, in the filters too', async () => {
    const { connections } = contract.sdk();
    await connections.set('meta', { namespace, mcpUrl: upstream.url, metadata: { a: '1', b: '2' } });
    const replaced = await connections.set('meta', { namespace, metadata: { b: '3' } });
    expect(replaced.metadata).toEqual({ b: '3' });
    const ids = async (query: string) => {
      const { body } = await contract.request(`/default?${query}`);
      return (body as { connections: { connectionId: string }[] }).connections.map((one) => one.connectionId);
    };
    expect(await ids('metadata.a=1')).toEqual([]);
    expect(await ids('metadata.b=2')).toEqual([]);
    expect(await ids('metadata.b=3')).toEqual(['meta']);
    expect((await connections.set('meta', { namespace, metadata: {} })).metadata).toEqual({});
  });

  test('replaces headers as a whole', async () => {
    const { connections } = contract.sdk();
    await connections.set('heads', { namespace, mcpUrl: upstream.url, headers: { 'X-A': '1', 'X-B': '1' } });
    expect(lastHeaders()).toMatchObject({ 'x-a': '1', 'x-b': '1' });
    await connections.set('heads', { namespace, headers: { 'X-B': '2' } });
    expect(lastHeaders()).toMatchObject({ 'x-b': '2' });
    expect(lastHeaders()).not.toHaveProperty('x-a');
    await connections.tools.list('heads', { namespace });
    expect(lastHeaders()).toMatchObject({ 'x-b': '2' });
    expect(lastHeaders()).not.toHaveProperty('x-a');
    await connections.set('heads', { namespace, headers: {} });
    expect(lastHeaders()).not.toHaveProperty('x-b');
  });

  test('probes each time, and stores what it finds', async () => {
    let isDown = true;
    const { handler } = legacyServer();
    const moody = await contract.upstream((request, response) =>
      isDown ? sendJson(response, 404, {}) : handler(request, response),
    );
    const { connections } = contract.sdk();
    const made = await connections.set('moody', { namespace, mcpUrl: moody.url });
    expect(made.status).toEqual({ state: 'error', message: 'upstream answered 404 at /mcp' });
    isDown = false;
    const set = await connections.set('moody', { namespace });
    expect(set).toMatchObject({ status: { state: 'connected' }, serverInfo: { name: 'legacy-fixture' } });
    isDown = true;
    expect((await connections.set('moody', { namespace })).status?.state).toBe('error');
    expect((await connections.get('moody', { namespace })).status?.state).toBe('error');
  });

  test('takes another spelling of the same URL for the same', async () => {
    const path = '/default/same-url';
    await contract.request(path, { method: 'PUT', json: { mcpUrl: upstream.url } });
    const mcpUrl = `HTTP://127.0.0.1:${upstream.port}/./mcp#fragment`;
    const answer = await contract.request(path, { method: 'PUT', json: { mcpUrl } });
    expect(answer).toMatchObject({ status: 200, body: { mcpUrl: upstream.url } });
  });

  test('answers 404 for a namespace that does not exist', async () => {
    const work = contract.sdk().connections.set('x', { namespace: 'nowhere', mcpUrl: upstream.url });
    expect(await refusal(work)).toMatchObject({ status: 404 });
  });
});

describe('another URL', () => {
  test('is 409 with x-should-retry: false, and changes nothing', async () => {
    const { connections } = contract.sdk();
    const stored = await connections.set('bound', { namespace, mcpUrl: upstream.url, name: 'Bound' });
    for (const mcpUrl of [`${upstream.url}/`, `${upstream.url}?q=1`, 'http://127.0.0.1:1/mcp']) {
      const json = { mcpUrl, name: 'Stolen', headers: { 'X-Stolen': '1' } };
      const answer = await contract.request('/default/bound', { method: 'PUT', json });
      expect([mcpUrl, answer.status]).toEqual([mcpUrl, 409]);
      expect(answer.headers.get('x-should-retry')).toBe('false');
      expect((answer.body as { message: string }).message).toContain('mcpUrl');
    }
    expect(await connections.get('bound', { namespace })).toEqual(stored);
  });

  test('is sent once by an SDK that repeats up to twice', async () => {
    const { connections } = contract.sdk({ maxRetries: 2 });
    await connections.set('bound-once', { namespace, mcpUrl: upstream.url });
    contract.sent.length = 0;
    const refused = await refusal(
      connections.set('bound-once', { namespace, mcpUrl: `${upstream.url}/other` }),
    );
    expect(refused.status).toBe(409);
    expect(contract.sent).toEqual(['PUT /default/bound-once']);
  });

  // api.md §4 and checklist 5: only the query may change, and only while values are missing.
  test('with the same host and path is taken while input is required', async () => {
    const { connections } = contract.sdk();
    await connections.set('asks', { namespace, mcpUrl: upstream.url });
    await storeStatus(contract, 'asks', {
      state: 'input_required',
      http: { query: { token: { label: 'Token', required: true } } },
      missing: { headers: [], query: ['token'] },
    });
    const elsewhere = await refusal(
      connections.set('asks', { namespace, mcpUrl: `${upstream.url}/other?token=1` }),
    );
    expect(elsewhere.status).toBe(409);
    const set = await connections.set('asks', { namespace, mcpUrl: `${upstream.url}?token=1` });
    expect(set).toMatchObject({ mcpUrl: `${upstream.url}?token=1`, status: { state: 'connected' } });
    expect(upstream.received.at(-1)?.path).toBe('/mcp?token=1');
  });
});

describe('what is refused', () => {
  test.each<[what: string, field: string, json: unknown]>([
    ['a new connection without mcpUrl', 'mcpUrl', { name: 'x' }],
    ['an unknown key', 'colour', { mcpUrl: 'http://127.0.0.1:9/mcp', colour: 'red' }],
    ['the namespace in the body', 'namespace', { mcpUrl: 'http://127.0.0.1:9/mcp', namespace: 'default' }],
    ['an uplink with headers', 'headers', { transport: 'uplink', headers: {} }],
    ['a registry server, not supported yet', 'server', { server: 'acme/notes' }],
    ['a mock, not supported yet', 'mock', { mcpUrl: 'http://127.0.0.1:9/mcp', mock: { enabled: true } }],
    ['a module, not supported yet', 'source', { source: { kind: 'module' } }],
    ['null for metadata', 'metadata', { mcpUrl: 'http://127.0.0.1:9/mcp', metadata: null }],
  ])('%s: 400 validation_error that names %s', async (_what, field, json) => {
    const answer = await contract.request('/default/refused', { method: 'PUT', json });
    expect(answer).toMatchObject({
      status: 400,
      body: { error: 'validation_error', message: expect.stringContaining(field) },
    });
    expect((await contract.request('/default/refused')).status).toBe(404);
  });

  test('an existing connection is not made an uplink or bound to a registry server', async () => {
    const { connections } = contract.sdk();
    const stored = await connections.set('stays-http', { namespace, mcpUrl: upstream.url });
    for (const [json, status] of [
      [{ transport: 'uplink' }, 409],
      [{ server: 'acme/notes' }, 400],
      [{ source: {} }, 400],
    ] as const) {
      const answer = await contract.request('/default/stays-http', { method: 'PUT', json });
      expect([json, answer.status]).toEqual([json, status]);
    }
    expect(await connections.get('stays-http', { namespace })).toEqual(stored);
  });

  // api.md §4: mock counts at creation only.
  test('mock is ignored on an existing connection', async () => {
    const { connections } = contract.sdk();
    const stored = await connections.set('stays-real', { namespace, mcpUrl: upstream.url });
    const set = await connections.set('stays-real', { namespace, mock: { enabled: true } });
    expect(set).toEqual(stored);
  });
});
