import { beforeAll, describe, expect, test } from 'vitest';
import { until } from '../fixtures/until.ts';
import { legacyServer, sendJson, type Upstream } from '../fixtures/upstream.ts';
import { refusal, useContract } from './harness.ts';

const contract = useContract();
const namespace = 'default';
let upstream: Upstream;
beforeAll(async () => {
  upstream = await contract.upstream(
    legacyServer({ tools: [{ name: 'echo' }, { name: 'repo.search' }] }).handler,
  );
});

describe('GET /{namespace}/{connectionId}', () => {
  test('answers what create answered, and asks the upstream nothing', async () => {
    const { connections } = contract.sdk();
    const made = await connections.create(namespace, { mcpUrl: upstream.url, metadata: { a: 1 } });
    const asked = upstream.received.length;
    expect(await connections.get(made.connectionId, { namespace })).toEqual(made);
    expect(upstream.received.length).toBe(asked);
  });

  test('does not wait for the upstream of a connection in error', async () => {
    const own = await contract.upstream((_request, response) => sendJson(response, 404, {}));
    const { connectionId } = await contract.sdk().connections.create(namespace, { mcpUrl: own.url });
    own.handle(() => {});
    const signal = AbortSignal.timeout(3_000);
    for (const path of [`/default/${connectionId}`, '/default']) {
      expect((await contract.request(path, { signal })).status).toBe(200);
    }
    await own.stop();
  });

  test('answers 404 for an id that is not there, and for one that none can have', async () => {
    for (const id of ['missing', '.hidden', '%00', 'a%0Ab', 'x'.repeat(256), '__proto__', 'constructor']) {
      const answer = await contract.request(`/default/${id}`);
      expect([id, answer.status]).toEqual([id, 404]);
      expect(answer.body).toMatchObject({ error: expect.any(String) });
    }
  });

  test('answers 4xx for an id of 10 kB', async () => {
    for (const method of ['GET', 'PUT', 'DELETE']) {
      const { status } = await contract.request(`/default/${'x'.repeat(10_000)}`, { method });
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(500);
    }
  });
});

describe('DELETE /{namespace}/{connectionId}', () => {
  test('answers success once, and 404 from then on', async () => {
    const { connections } = contract.sdk();
    await connections.set('gone', { namespace, mcpUrl: upstream.url });
    expect(await connections.delete('gone', { namespace })).toEqual({ success: true });
    expect(await refusal(connections.get('gone', { namespace }))).toMatchObject({ status: 404 });
    expect(await refusal(connections.delete('gone', { namespace }))).toMatchObject({ status: 404 });
    expect(await refusal(connections.tools.list('gone', { namespace }))).toMatchObject({ status: 404 });
    const { connections: left } = await connections.list(namespace, { name: 'gone' });
    expect(left).toEqual([]);
  });

  test('ends the upstream session', async () => {
    const { handler, sessions } = legacyServer({ sessions: true });
    const own = await contract.upstream(handler);
    const { connections } = contract.sdk();
    const { connectionId } = await connections.create(namespace, { mcpUrl: own.url });
    expect(sessions.size).toBe(1);
    await connections.delete(connectionId, { namespace });
    await until(() => sessions.size === 0);
  });

  test('does not wait for an upstream that ignores the end of its session', async () => {
    const { handler } = legacyServer({ sessions: true });
    const own = await contract.upstream((request, response) =>
      request.method === 'DELETE' ? undefined : handler(request, response),
    );
    const { connections } = contract.sdk();
    const { connectionId } = await connections.create(namespace, { mcpUrl: own.url });
    const signal = AbortSignal.timeout(5_000);
    expect((await contract.request(`/default/${connectionId}`, { method: 'DELETE', signal })).status).toBe(
      200,
    );
  });

  test('frees the id for another upstream, without the old headers', async () => {
    const { connections } = contract.sdk();
    await connections.set('reused', { namespace, mcpUrl: upstream.url, headers: { 'X-Old': '1' } });
    await connections.tools.list('reused', { namespace });
    await connections.delete('reused', { namespace });
    const other = await contract.upstream(legacyServer({ tools: [{ name: 'other' }] }).handler);
    const answer = await contract.request('/default/reused', { method: 'PUT', json: { mcpUrl: other.url } });
    expect(answer.status).toBe(201);
    const { tools } = await connections.tools.list('reused', { namespace });
    expect(tools.map(({ name }) => name)).toEqual(['other']);
    for (const received of other.received) expect(received.headers).not.toHaveProperty('x-old');
  });
});

describe('connection ids', () => {
  const ids = [
    'a/b',
    'a/b/c.d',
    'owner/repo/.tools/x',
    'x/mcp',
    '🐬-delfín-海豚',
    'with space',
    'per%cent',
    'per%2Fcent',
    'plus+and&?#;=',
    'mcp',
    'setup',
    '-._~!$',
    '__proto__',
    'constructor',
    'x'.repeat(255),
  ];
  test.each(ids)('%j is created, read, listed, called and deleted', async (id) => {
    const { connections } = contract.sdk();
    const made = await connections.set(id, { namespace, mcpUrl: upstream.url });
    expect(made).toMatchObject({ connectionId: id, name: id });
    expect(await connections.get(id, { namespace })).toEqual(made);
    expect((await connections.list(namespace, { name: id })).connections).toEqual([made]);
    const result = await connections.tools.call('echo', { namespace, connectionId: id, body: { n: 1 } });
    expect(result).toEqual({ content: [{ type: 'text', text: '{"n":1}' }] });
    const answer = await contract.request(`/connect/default/${encodeURIComponent(id)}/mcp`, {
      method: 'POST',
      json: { jsonrpc: '2.0', id: 1, method: 'ping' },
    });
    expect(answer.body).toEqual({ jsonrpc: '2.0', id: 1, result: {} });
    expect(await connections.delete(id, { namespace })).toEqual({ success: true });
    expect(await refusal(connections.get(id, { namespace }))).toMatchObject({ status: 404 });
  });

  test.each(['.hidden', '.tools', 'a%00b', 'a%0Ab', 'a%7Fb', 'x'.repeat(256), '%2Ehidden'])(
    '%j cannot be created: 400',
    async (segment) => {
      const answer = await contract.request(`/default/${segment}`, {
        method: 'PUT',
        json: { mcpUrl: upstream.url },
      });
      expect(answer).toMatchObject({ status: 400, body: { error: 'validation_error' } });
    },
  );

  test('an address that does not decode is 400, in the shape of its area', async () => {
    for (const path of ['/default/%E0%A4%A', '/connect/default/%ZZ']) {
      const answer = await contract.request(path);
      expect([path, answer.status]).toEqual([path, 400]);
      expect(answer.body).toMatchObject({ error: expect.any(String), message: expect.any(String) });
    }
  });
});

describe('both URL forms', () => {
  test('answer the same to every read and call', async () => {
    const { name } = await contract.sdk().namespaces.create();
    await contract.sdk().connections.set('two-forms', { namespace: name, mcpUrl: upstream.url });
    const rpc = { jsonrpc: '2.0', id: 'x', method: 'tools/list' };
    const requests: [path: string, options?: Parameters<typeof contract.request>[1]][] = [
      ['?limit=5&name=two-forms'],
      ['?limit=0'],
      ['/two-forms'],
      ['/missing'],
      ['/.tools'],
      ['/two-forms/.tools'],
      ['/two-forms/.tools/echo'],
      ['/two-forms/.tools/repo'],
      ['/two-forms/.tools/repo/search'],
      ['/two-forms/.tools/repo/search', { method: 'POST', json: { q: 'x' } }],
      ['/two-forms/.tools/missing', { method: 'POST', json: {} }],
      ['/two-forms/mcp', { method: 'POST', json: rpc }],
      ['/two-forms/mcp', { method: 'DELETE' }],
      ['/two-forms', { method: 'PUT', json: {} }],
      ['/two-forms', { method: 'PUT', json: { mcpUrl: 'http://127.0.0.1:1/' } }],
      ['', { method: 'POST', json: { nope: 1 } }],
    ];
    for (const [path, options] of requests) {
      const run = await contract.request(`/${name}${path}`, options);
      const api = await contract.request(`/connect/${name}${path}`, options);
      expect({ path, status: api.status, body: api.body }).toEqual({
        path,
        status: run.status,
        body: run.body,
      });
    }
  });

  test('reach the same connections', async () => {
    const json = { mcpUrl: upstream.url };
    expect((await contract.request('/connect/default/shared', { method: 'PUT', json })).status).toBe(201);
    expect((await contract.request('/default/shared', { method: 'PUT', json })).status).toBe(200);
    expect((await contract.request('/default/shared', { method: 'DELETE' })).status).toBe(200);
    expect((await contract.request('/connect/default/shared', { method: 'DELETE' })).status).toBe(404);
    const made = await contract.request('/connect/default', { method: 'POST', json });
    const { connectionId } = made.body as { connectionId: string };
    expect((await contract.request(`/default/${connectionId}`)).body).toEqual(made.body);
  });
});
