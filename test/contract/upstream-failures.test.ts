import { describe, expect, test } from 'vitest';
import { startPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';
import { type Handler, legacyServer, sendJson } from '../fixtures/upstream.ts';
import { refusal, useContract } from './harness.ts';

// No background probe comes between a test and what it looks at.
const contract = useContract({
  limits: { healMinMs: 60_000, healMaxMs: 60_000, probeMs: 1_500, discoverMs: 500, callTimeoutMs: 700 },
  lookup: (host, answer) => answer(Object.assign(new Error(`ENOTFOUND ${host}`), { code: 'ENOTFOUND' }), []),
});
const namespace = 'default';

const html: Handler = (_request, response) => {
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<h1>Welcome</h1>');
};
const status =
  (code: number): Handler =>
  (_request, response) =>
    sendJson(response, code, { error: 'no' });

describe('a failing upstream is 201 and 200 with a message that a person can act on', () => {
  test.each<[what: string, message: string | RegExp, handler: Handler]>([
    ['404', 'upstream answered 404 at /mcp', status(404)],
    ['410', 'upstream answered 410 at /mcp', status(410)],
    ['500', 'upstream answered 500 at /mcp', status(500)],
    ['401 everywhere', 'upstream refused the credentials (401)', status(401)],
    [
      '401, and pages where a login would be described',
      'upstream refused the credentials (401)',
      (request, response) =>
        request.path === '/mcp' ? status(401)(request, response) : html(request, response),
    ],
    [
      '401, and nothing else',
      'upstream refused the credentials (401)',
      (request, response) => status(request.path === '/mcp' ? 401 : 404)(request, response),
    ],
    ['403', 'upstream refused the credentials (403)', status(403)],
    ['HTML', 'not an MCP server: answered text/html', html],
    [
      'plain text',
      'not an MCP server: answered text/plain',
      (_request, response) => void response.writeHead(200, { 'content-type': 'text/plain' }).end('hi'),
    ],
    [
      'JSON that is no JSON-RPC',
      /^not an MCP server: answered JSON/,
      (_request, response) => sendJson(response, 200, { hello: 'world' }),
    ],
    [
      'JSON that breaks off',
      /^not an MCP server: answered JSON/,
      (_request, response) =>
        void response.writeHead(200, { 'content-type': 'application/json' }).end('{"jsonrpc":'),
    ],
    [
      'a refusal to initialize',
      /refused to initialize/,
      (request, response) =>
        sendJson(response, 200, {
          jsonrpc: '2.0',
          id: request.message?.id ?? null,
          error: { code: -32603, message: 'broken' },
        }),
    ],
    [
      'a closed line',
      'upstream closed the connection before its answer was whole',
      (_request, response) => void response.destroy(),
    ],
    ['silence', 'upstream did not answer in time', () => {}],
    [
      'a redirect elsewhere',
      /redirects \(302\) to http:\/\/127\.0\.0\.1:1\/login/,
      (_request, response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/login' }).end(),
    ],
  ])('%s: %s', async (what, message, handler) => {
    const upstream = await contract.upstream(handler);
    const path = `/default/${encodeURIComponent(`fails with ${what}`)}`;
    const state = {
      state: 'error',
      message: typeof message === 'string' ? message : expect.stringMatching(message),
    };
    const made = await contract.request(path, { method: 'PUT', json: { mcpUrl: upstream.url } });
    expect(made).toMatchObject({ status: 201, body: { status: state } });
    expect(made.body).not.toHaveProperty('serverInfo');
    const set = await contract.request(path, { method: 'PUT', json: {} });
    expect(set).toMatchObject({ status: 200, body: { status: state } });
    expect((await contract.request(path)).body).toMatchObject({ status: state });
    const created = await contract.request('/default', { method: 'POST', json: { mcpUrl: upstream.url } });
    expect(created).toMatchObject({ status: 201, body: { status: state } });
  });

  test('connection refused', async () => {
    const upstream = await contract.upstream(() => {});
    await upstream.stop();
    const made = await contract.sdk().connections.create(namespace, { mcpUrl: upstream.url });
    expect(made.status).toEqual({ state: 'error', message: 'connection refused' });
  });

  test('no such host', async () => {
    const made = await contract
      .sdk()
      .connections.create(namespace, { mcpUrl: 'https://no-such-host.example/mcp' });
    expect(made.status).toEqual({ state: 'error', message: 'no such host' });
  });

  test('the path in the message carries no query', async () => {
    const upstream = await contract.upstream(status(404));
    const made = await contract
      .sdk()
      .connections.create(namespace, { mcpUrl: `${upstream.url}?token=query-secret` });
    expect(made.status).toEqual({ state: 'error', message: 'upstream answered 404 at /mcp' });
  });
});

describe('the status follows what the upstream last did', () => {
  test('a call that is refused for its credentials ends "connected", a later success brings it back', async () => {
    const { handler } = legacyServer();
    const upstream = await contract.upstream(handler);
    const { connections } = contract.sdk();
    const { connectionId } = await connections.create(namespace, { mcpUrl: upstream.url });
    const call = () => connections.tools.call('echo', { namespace, connectionId, body: {} });
    const state = async () => (await connections.get(connectionId, { namespace })).status;

    upstream.handle(status(401));
    const refused = await refusal(call());
    expect(refused.status).toBe(502);
    expect(refused.headers.get('x-should-retry')).toBe('false');
    const refusedState = { state: 'error', message: 'upstream refused the credentials (401)' };
    await until(async () => (await state())?.state === 'error');
    expect(await state()).toEqual(refusedState);
    const { connections: listed } = await connections.list(namespace);
    expect(listed.find((one) => one.connectionId === connectionId)?.status).toEqual(refusedState);

    upstream.handle(handler);
    expect(await call()).toHaveProperty('content');
    await until(async () => (await state())?.state === 'connected');
  });

  test('the MCP endpoint moves it too', async () => {
    const { handler } = legacyServer();
    const upstream = await contract.upstream(handler);
    const { connections } = contract.sdk();
    const { connectionId } = await connections.create(namespace, { mcpUrl: upstream.url });
    const post = () =>
      contract.request(`/connect/default/${connectionId}/mcp`, {
        method: 'POST',
        json: { jsonrpc: '2.0', id: 1, method: 'tools/list' },
      });
    const state = async () => (await connections.get(connectionId, { namespace })).status?.state;
    upstream.handle(html);
    expect(await post()).toMatchObject({ status: 502, body: { id: 1 } });
    await until(async () => (await state()) === 'error');
    upstream.handle(handler);
    expect((await post()).status).toBe(200);
    await until(async () => (await state()) === 'connected');
  });

  test('a single call that fails with 500 does not, if a probe finds the upstream well', async () => {
    const { handler } = legacyServer();
    const upstream = await contract.upstream(handler);
    const { connections } = contract.sdk();
    const { connectionId } = await connections.create(namespace, { mcpUrl: upstream.url });
    await connections.tools.list(connectionId, { namespace });
    upstream.handle((request, response) =>
      request.message?.method === 'tools/call' ? sendJson(response, 500, {}) : handler(request, response),
    );
    upstream.received.length = 0;
    const work = connections.tools.call('echo', { namespace, connectionId, body: {} });
    expect(await refusal(work)).toMatchObject({ status: 502 });
    await until(() => upstream.received.some(({ message }) => message?.method === 'initialize'));
    expect((await connections.get(connectionId, { namespace })).status).toEqual({ state: 'connected' });
  });
});

describe('a failing call', () => {
  const methods = (received: { message: Record<string, unknown> | undefined }[]) =>
    received.map(({ message }) => message?.method);

  test('that may have run is not repeated, by us or by the SDK', async () => {
    const { handler } = legacyServer();
    const upstream = await contract.upstream((request, response) =>
      request.message?.method === 'tools/call' ? void response.destroy() : handler(request, response),
    );
    const { connections } = contract.sdk({ maxRetries: 2 });
    const { connectionId } = await connections.create(namespace, { mcpUrl: upstream.url });
    const work = connections.tools.call('echo', { namespace, connectionId, body: {} });
    const refused = await refusal(work);
    expect(refused.status).toBe(502);
    expect(refused.headers.get('x-should-retry')).toBe('false');
    expect(methods(upstream.received).filter((method) => method === 'tools/call')).toHaveLength(1);
    expect(contract.sent.filter((sent) => sent.includes('.tools'))).toHaveLength(1);
  });

  test('that takes too long is 504, and not repeated', async () => {
    const { handler } = legacyServer();
    const upstream = await contract.upstream((request, response) =>
      request.message?.method === 'tools/call' ? undefined : handler(request, response),
    );
    const { connections } = contract.sdk({ maxRetries: 2 });
    const { connectionId } = await connections.create(namespace, { mcpUrl: upstream.url });
    const refused = await refusal(connections.tools.call('echo', { namespace, connectionId, body: {} }));
    expect(refused).toMatchObject({ status: 504, body: { error: 'upstream_timeout' } });
    expect(refused.headers.get('x-should-retry')).toBe('false');
    expect(methods(upstream.received).filter((method) => method === 'tools/call')).toHaveLength(1);
    const answer = await contract.request(`/connect/default/${connectionId}/mcp`, {
      method: 'POST',
      json: { jsonrpc: '2.0', id: 'slow', method: 'tools/call', params: { name: 'echo', arguments: {} } },
    });
    expect(answer).toMatchObject({ status: 504, body: { id: 'slow' } });
    expect(answer.headers.get('x-should-retry')).toBe('false');
  });

  test('of an upstream that is down is 502, and works again once it is back', async () => {
    const upstream = await contract.upstream(legacyServer().handler);
    const { connections } = contract.sdk();
    const { connectionId } = await connections.create(namespace, { mcpUrl: upstream.url });
    await upstream.stop();
    const list = () => connections.tools.list(connectionId, { namespace });
    expect(await refusal(list())).toMatchObject({ status: 502, body: { message: 'connection refused' } });
    await upstream.start();
    expect((await list()).tools).toHaveLength(1);
  });

  test('of a connection that never answered probes it first, and says what is wrong', async () => {
    const upstream = await contract.upstream(html);
    const { connections } = contract.sdk();
    const { connectionId } = await connections.create(namespace, { mcpUrl: upstream.url });
    const list = () => connections.tools.list(connectionId, { namespace });
    expect(await refusal(list())).toMatchObject({
      status: 502,
      body: { message: 'not an MCP server: answered text/html' },
    });
    upstream.handle(legacyServer().handler);
    expect((await list()).tools).toHaveLength(1);
    expect((await connections.get(connectionId, { namespace })).serverInfo?.name).toBe('legacy-fixture');
  });
});

describe('healing', () => {
  const healing = useContract({ limits: { healMinMs: 50, healMaxMs: 100, healSweepMs: 50 } });

  test('a connection in error becomes connected without a call', async () => {
    const upstream = await healing.upstream(status(503));
    const { connections } = healing.sdk();
    const { connectionId, status: first } = await connections.create(namespace, { mcpUrl: upstream.url });
    expect(first).toEqual({ state: 'error', message: 'upstream answered 503 at /mcp' });
    upstream.handle(legacyServer().handler);
    const healed = await until(async () => {
      const { connections: listed } = await connections.list(namespace);
      return listed.find((one) => one.connectionId === connectionId && one.status?.state === 'connected');
    });
    expect(healed.serverInfo).toEqual({ name: 'legacy-fixture', version: '1.0.0' });
  });
});

test('a Patchbay that stops does not wait for the probe of a silent upstream', async () => {
  const pb = await startPatchbay();
  const upstream = await contract.upstream(status(404));
  const { connectionId } = await pb.sdk().connections.create(namespace, { mcpUrl: upstream.url });
  upstream.handle(() => {});
  upstream.received.length = 0;
  await until(async () => {
    await pb.sdk().connections.get(connectionId, { namespace });
    return upstream.received.length > 0;
  });
  const start = performance.now();
  await pb.stop();
  // What the issue allows between SIGTERM and the exit of an idle server.
  expect(performance.now() - start).toBeLessThan(5_000);
});
