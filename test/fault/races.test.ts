import { request as httpRequest } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';
import { type Handler, legacyServer, startUpstream, type Upstream } from '../fixtures/upstream.ts';

let pb: TestPatchbay;
const upstreams: Upstream[] = [];

beforeAll(async () => {
  pb = await startPatchbay();
});
afterEach(async () => {
  await Promise.all(upstreams.splice(0).map((upstream) => upstream.stop()));
});
afterAll(() => pb?.stop());

async function upstreamOf(handler: Handler): Promise<Upstream> {
  const upstream = await startUpstream(handler);
  upstreams.push(upstream);
  return upstream;
}

/** Holds back every `initialize` until released. */
function gated(handler: Handler): { handler: Handler; release: () => void } {
  let release = () => {};
  const open = new Promise<void>((resolve) => {
    release = resolve;
  });
  return {
    handler: async (received, response) => {
      if (received.message?.method === 'initialize') await open;
      return handler(received, response);
    },
    release: () => release(),
  };
}

const json = async (path: string, init: Parameters<TestPatchbay['request']>[1] = {}) => {
  const response = await pb.request(path, init);
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
};

describe('a namespace that is deleted and made again while a connection is created in it', () => {
  test('does not get the connection, nor a value that it cannot open', async () => {
    await json('/namespaces/phoenix', { method: 'PUT' });
    const gate = gated(legacyServer().handler);
    const upstream = await upstreamOf(gate.handler);
    const put = json('/phoenix/c', {
      method: 'PUT',
      json: { mcpUrl: upstream.url, headers: { 'x-key': 'k' } },
    });
    await until(() => upstream.received.some(({ message }) => message?.method === 'initialize'));
    await json('/namespaces/phoenix', { method: 'DELETE' });
    await json('/namespaces/phoenix', { method: 'PUT' });
    gate.release();
    expect(await put).toMatchObject({ status: 404, body: { error: 'namespace_not_found' } });
    expect((await json('/phoenix')).body).toEqual({ connections: [], nextCursor: null });
    expect((await json('/phoenix/.tools')).status).toBe(200);
  });
});

describe('two sets of one connection at once', () => {
  test('each change what they were given and keep the rest, filters included', async () => {
    const server = legacyServer().handler;
    const upstream = await upstreamOf(server);
    await json('/default/both', { method: 'PUT', json: { mcpUrl: upstream.url, metadata: { u: 'old' } } });
    const gate = gated(server);
    upstream.handle(gate.handler);
    const before = upstream.received.length;
    const named = json('/default/both', { method: 'PUT', json: { name: 'renamed' } });
    await until(() =>
      upstream.received.slice(before).some(({ message }) => message?.method === 'initialize'),
    );
    upstream.handle(server);
    await json('/default/both', { method: 'PUT', json: { metadata: { u: 'new' } } });
    gate.release();
    expect((await named).body).toMatchObject({ name: 'renamed', metadata: { u: 'new' } });
    const found = async (value: string) =>
      ((await json(`/default?metadata.u=${value}`)).body.connections as unknown[]).length;
    expect([await found('new'), await found('old')]).toEqual([1, 0]);
  });

  test('leave no upstream session behind once the connection is deleted', async () => {
    const server = legacyServer({ sessions: true });
    const upstream = await upstreamOf(server.handler);
    await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        json('/default/raced', {
          method: 'PUT',
          json: { mcpUrl: upstream.url, headers: { 'x-n': String(n) } },
        }),
      ),
    );
    await json('/default/raced', { method: 'DELETE' });
    await until(() => server.sessions.size === 0);
  });
});

test('a call whose caller left while the session was opened does not run', async () => {
  const server = legacyServer({ sessions: true }).handler;
  const upstream = await upstreamOf(server);
  await json('/default/left', { method: 'PUT', json: { mcpUrl: upstream.url } });
  const gate = gated(server);
  upstream.handle(gate.handler);
  const before = upstream.received.length;
  const call = httpRequest(`${pb.url}/connect/default/left/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${pb.key}`,
      'content-type': 'application/json',
      // A revision that no pooled session has yet.
      'mcp-protocol-version': '2025-03-26',
    },
  });
  call.on('error', () => {});
  call.end(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } }));
  const seen = () => upstream.received.slice(before).map(({ message }) => message?.method);
  await until(() => seen().includes('initialize'));
  call.destroy();
  gate.release();
  await until(() => seen().includes('notifications/initialized'));
  // The call would have followed at once; a later one shows that nothing is still to come.
  await json('/default/left/.tools');
  expect(seen()).not.toContain('tools/call');
});

test('connections that lead back to Patchbay end their calls after a few hops', async () => {
  const upstream = await upstreamOf(legacyServer().handler);
  const headers = { authorization: `Bearer ${pb.key}` };
  const through = (id: string) => `${pb.url}/connect/default/${id}/mcp`;
  await json('/default/loop-a', { method: 'PUT', json: { mcpUrl: upstream.url } });
  await json('/default/loop-b', { method: 'PUT', json: { mcpUrl: through('loop-a'), headers } });
  await pb.request('/default/loop-a', { method: 'DELETE' });
  await json('/default/loop-a', { method: 'PUT', json: { mcpUrl: through('loop-b'), headers } });
  const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: {} } };
  const answer = await json('/connect/default/loop-a/mcp', { method: 'POST', json: call });
  expect(answer.status).toBe(502);
  for (const id of ['loop-a', 'loop-b']) await pb.request(`/default/${id}`, { method: 'DELETE' });
});

describe('a refusal of a real call', () => {
  test('is not forgotten because discovery and initialize need no credentials', async () => {
    const server = legacyServer({ sessions: true }).handler;
    let open = true;
    const upstream = await upstreamOf((received, response) => {
      if (open || !String(received.message?.method).startsWith('tools/')) return server(received, response);
      response.writeHead(401).end();
    });
    await json('/default/guarded', { method: 'PUT', json: { mcpUrl: upstream.url } });
    open = false;
    expect((await pb.request('/default/guarded/.tools')).status).toBe(502);
    const status = async () => (await json('/default/guarded')).body.status;
    await until(async () => ((await status()) as { state: string }).state === 'error');
    // Two background probes later it is still what the call said.
    const lists = () => upstream.received.filter(({ message }) => message?.method === 'tools/list').length;
    const before = lists();
    await until(async () => {
      expect(await status()).toMatchObject({ state: 'error' });
      return lists() >= before + 2;
    }, 20_000);
    open = true;
    await until(async () => ((await status()) as { state: string }).state === 'connected', 20_000);
  });
});

test('a list with too many metadata conditions is 400', async () => {
  const query = Array.from({ length: 200 }, (_, n) => `metadata.k${n}=v`).join('&');
  expect(await json(`/default?${query}`)).toMatchObject({ status: 400, body: { error: 'validation_error' } });
});
