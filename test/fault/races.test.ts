import { request as httpRequest } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { count, echoCall, jsonContent, mcp } from '../fixtures/fault.ts';
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
  test.each([
    { first: { name: 'renamed' }, second: { metadata: { u: 'new' } } },
    { first: { metadata: { u: 'new' } }, second: { name: 'renamed' } },
  ])('each change what they were given and keep the rest, filters included: $first', async (sets) => {
    const server = legacyServer().handler;
    const upstream = await upstreamOf(server);
    const stored = { mcpUrl: upstream.url, name: 'both', metadata: { u: 'old' } };
    await json('/default/both', { method: 'PUT', json: stored });
    const gate = gated(server);
    upstream.handle(gate.handler);
    const before = upstream.received.length;
    const first = json('/default/both', { method: 'PUT', json: sets.first });
    await until(() =>
      upstream.received.slice(before).some(({ message }) => message?.method === 'initialize'),
    );
    upstream.handle(server);
    await json('/default/both', { method: 'PUT', json: sets.second });
    gate.release();
    expect((await first).body).toMatchObject({ name: 'renamed', metadata: { u: 'new' } });
    const found = async (value: string) =>
      ((await json(`/default?metadata.u=${value}`)).body.connections as unknown[]).length;
    expect([await found('new'), await found('old')]).toEqual([1, 0]);
    await json('/default/both', { method: 'DELETE' });
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
      ...jsonContent,
      // A revision that no pooled session has yet.
      'mcp-protocol-version': '2025-03-26',
    },
  });
  call.on('error', () => {});
  call.end(JSON.stringify(echoCall()));
  const seen = () => upstream.received.slice(before).map(({ message }) => message?.method);
  await until(() => seen().includes('initialize'));
  call.destroy();
  gate.release();
  await until(() => seen().includes('notifications/initialized'));
  // The call would have followed at once; a later one shows that nothing is still to come.
  await json('/default/left/.tools');
  expect(seen()).not.toContain('tools/call');
  // Nor is the upstream told to cancel what it never got.
  expect(seen()).not.toContain('notifications/cancelled');
});

test('a connection that leads back to itself ends a call after a few hops', async () => {
  const upstream = await upstreamOf(legacyServer().handler);
  const headers = { authorization: `Bearer ${pb.key}` };
  await json('/default/loop', { method: 'PUT', json: { mcpUrl: upstream.url, headers } });
  upstream.handle(async ({ headers: sent, body }, response) => {
    const passed = ['authorization', 'content-type', 'mcp-protocol-version', 'via'];
    const answer = await fetch(`${pb.url}/connect/default/loop/mcp`, {
      method: 'POST',
      headers: passed.map((name): [string, string] => [name, String(sent[name])]),
      body,
    });
    response.writeHead(answer.status, jsonContent).end(await answer.text());
  });
  expect((await mcp(pb, 'loop', echoCall())).status).toBe(502);
  expect(count(upstream, 'tools/call')).toBeGreaterThan(1);
  expect(count(upstream, 'tools/call')).toBeLessThan(6);
  await pb.request('/default/loop', { method: 'DELETE' });
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
    const lists = () => count(upstream, 'tools/list');
    const before = lists();
    const states = new Set<string>();
    await until(async () => {
      states.add(((await status()) as { state: string }).state);
      return lists() >= before + 2;
    }, 20_000);
    expect([...states]).toEqual(['error']);
    open = true;
    await until(async () => ((await status()) as { state: string }).state === 'connected', 20_000);
  });
});

test('a list with too many metadata conditions is 400', async () => {
  const query = Array.from({ length: 200 }, (_, n) => `metadata.k${n}=v`).join('&');
  expect(await json(`/default?${query}`)).toMatchObject({ status: 400, body: { error: 'validation_error' } });
});
