import { beforeAll, describe, expect, test } from 'vitest';
import { until } from '../fixtures/until.ts';
import { legacyServer, modernServer, RpcError, type Upstream } from '../fixtures/upstream.ts';
import { type RequestOptions, useContract } from './harness.ts';

const contract = useContract();
const namespace = 'default';
let legacy: Upstream;
let modern: Upstream;

beforeAll(async () => {
  const call = (name: string, args: Record<string, unknown>) => {
    if (name === 'boom') throw new RpcError(-32602, 'bad argument');
    return { content: [{ type: 'text', text: JSON.stringify(args) }] };
  };
  const tools = [{ name: 'echo' }, { name: 'boom' }];
  legacy = await contract.upstream(legacyServer({ sessions: true, tools, call }).handler);
  modern = await contract.upstream(modernServer({ tools, call }).handler);
  const { connections } = contract.sdk();
  await connections.set('legacy', { namespace, mcpUrl: legacy.url, headers: { 'X-Stored': 'secret' } });
  await connections.set('modern', { namespace, mcpUrl: modern.url, headers: { 'X-Stored': 'secret' } });
});

/** Sends one body to the MCP endpoint of a connection. */
function post(connectionId: string, json: unknown, options: RequestOptions = {}) {
  return contract.request(`/connect/default/${connectionId}/mcp`, { method: 'POST', json, ...options });
}

const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' };
const modernVersion = '2026-07-28';

/** A request as a modern caller sends it: the envelope in `_meta`, mirrored in headers. */
function postModern(connectionId: string, method: string, params: Record<string, unknown> = {}) {
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': modernVersion,
    'io.modelcontextprotocol/clientInfo': { name: 'contract', version: '1' },
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const headers = {
    'mcp-protocol-version': modernVersion,
    'mcp-method': method,
    ...(typeof params.name === 'string' ? { 'mcp-name': params.name } : {}),
  };
  return post(connectionId, { jsonrpc: '2.0', id: 1, method, params: { ...params, _meta } }, { headers });
}

describe('a legacy caller of a legacy upstream', () => {
  test.each<[what: string, headers: Record<string, string>]>([
    ['no session', {}],
    ['the SDK’s smithery-stateless', { 'mcp-session-id': 'smithery-stateless' }],
    ['a protocol version', { 'mcp-protocol-version': '2025-06-18' }],
  ])('needs no initialize, with %s', async (_what, headers) => {
    const answer = await post('legacy', list, { headers });
    expect(answer).toMatchObject({ status: 200, body: { id: 1, result: { tools: [{ name: 'echo' }, {}] } } });
    expect(answer.headers.get('mcp-session-id')).toBeNull();
  });

  test('may initialize, and gets the upstream’s own answer and a session under another id', async () => {
    const params = {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'c', version: '1' },
    };
    const answer = await post('legacy', { jsonrpc: '2.0', id: 'init', method: 'initialize', params });
    expect(answer).toMatchObject({
      status: 200,
      body: {
        id: 'init',
        result: {
          protocolVersion: '2025-11-25',
          serverInfo: { name: 'legacy-fixture' },
          capabilities: { tools: {} },
        },
      },
    });
    const session = answer.headers.get('mcp-session-id') as string;
    const headers = { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' };
    const notified = { jsonrpc: '2.0', method: 'notifications/initialized' };
    expect(await post('legacy', notified, { headers })).toMatchObject({ status: 202, text: '' });
    const sent = legacy.received.at(-1)?.headers['mcp-session-id'];
    expect(sent).toBeTruthy();
    expect(session).not.toContain(sent);
  });

  test('gets its own request id back, of whatever kind', async () => {
    for (const id of [
      0,
      -1,
      7,
      9_007_199_254_740_991,
      1.5,
      '',
      'a "quoted" \\ id',
      '🐙',
      '1',
      'x'.repeat(2_000),
    ]) {
      expect((await post('legacy', { ...list, id })).body).toMatchObject({ id, result: {} });
    }
  });

  test('keeps its answers apart though many calls share an id and a session', async () => {
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, n) =>
        post('legacy', { ...list, method: 'tools/call', params: { name: 'echo', arguments: { n } } }),
      ),
    );
    expect(answers.map(({ body }) => body)).toEqual(
      answers.map((_, n) => ({
        jsonrpc: '2.0',
        id: 1,
        result: { content: [{ type: 'text', text: JSON.stringify({ n }) }] },
      })),
    );
  });

  test('gets the upstream’s JSON-RPC errors as they are', async () => {
    const called = await post('legacy', { ...list, method: 'tools/call', params: { name: 'boom' } });
    expect(called).toMatchObject({
      status: 200,
      body: { id: 1, error: { code: -32602, message: 'bad argument' } },
    });
    const unknown = await post('legacy', { ...list, method: 'no/such' });
    expect(unknown).toMatchObject({ status: 200, body: { id: 1, error: { code: -32601 } } });
  });

  test('has its notifications taken with 202 and no body, and passed on', async () => {
    const params = { requestId: 'none', reason: 'contract' };
    const answer = await post('legacy', { jsonrpc: '2.0', method: 'notifications/cancelled', params });
    expect(answer).toMatchObject({ status: 202, text: '' });
    const passed = legacy.received.at(-1);
    expect(passed?.message).toEqual({ jsonrpc: '2.0', method: 'notifications/cancelled', params });
  });

  test('shows the upstream the stored headers, and none of its own credentials', async () => {
    await post('legacy', list, {
      headers: { cookie: 'a=b', 'x-forwarded-for': '10.0.0.1', 'x-api-key': 'mine', 'x-stored': 'forged' },
    });
    const headers = legacy.received.at(-1)?.headers ?? {};
    expect(headers['x-stored']).toBe('secret');
    for (const name of ['authorization', 'cookie', 'x-forwarded-for', 'x-api-key']) {
      expect(headers).not.toHaveProperty(name);
    }
    expect(JSON.stringify(legacy.received)).not.toContain(contract.pb.key);
  });

  test('gets an event stream when the upstream answers one, with its own id in it', async () => {
    const streaming = await contract.upstream(legacyServer({ sessions: true, sse: true }).handler);
    await contract.sdk().connections.set('streaming', { namespace, mcpUrl: streaming.url });
    const answer = await post('streaming', { ...list, id: 'mine' });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toMatch(/^text\/event-stream/);
    const data = /^data: (.*)$/m.exec(answer.text)?.[1] ?? '';
    expect(JSON.parse(data)).toMatchObject({
      jsonrpc: '2.0',
      id: 'mine',
      result: { tools: [{ name: 'echo' }] },
    });
  });

  test('sees events as they come, not when the stream ends', async () => {
    const { handler } = legacyServer();
    let finish: (() => void) | undefined;
    const slow = await contract.upstream((request, response) => {
      if (request.message?.method !== 'tools/list') return handler(request, response);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const progress = { jsonrpc: '2.0', method: 'notifications/progress', params: { progress: 1 } };
      response.write(`data: ${JSON.stringify(progress)}\n\n`);
      const done = { jsonrpc: '2.0', id: request.message.id, result: { tools: [] } };
      // Patchbay looks at the tools, too, a moment later (docs/pins.md).
      finish ??= () => void response.end(`data: ${JSON.stringify(done)}\n\n`);
    });
    await contract.sdk().connections.set('slow', { namespace, mcpUrl: slow.url });
    // Not through `contract.request`, which waits for the whole body.
    const response = await contract.pb.request('/connect/default/slow/mcp', { method: 'POST', json: list });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    expect((await reader?.read())?.value).toContain('notifications/progress');
    finish?.();
    expect((await reader?.read())?.value).toContain('"result"');
  });

  test('has a lost upstream session opened anew, once', async () => {
    let runs = 0;
    const { handler, sessions } = legacyServer({
      sessions: true,
      call: () => ({ content: [{ type: 'text', text: `run ${++runs}` }] }),
    });
    const own = await contract.upstream(handler);
    await contract.sdk().connections.set('loses', { namespace, mcpUrl: own.url });
    const call = { ...list, method: 'tools/call', params: { name: 'echo', arguments: {} } };
    await post('loses', call);
    sessions.clear();
    own.received.length = 0;
    expect((await post('loses', call)).body).toMatchObject({ result: { content: [{ text: 'run 2' }] } });
    expect(own.received.filter(({ message }) => message?.method === 'initialize')).toHaveLength(1);
  });

  test('ends the upstream’s work when it goes away', async () => {
    const { handler } = legacyServer();
    let closed = false;
    const own = await contract.upstream((request, response) => {
      if (request.message?.method !== 'tools/call') return handler(request, response);
      response.once('close', () => {
        closed = true;
      });
    });
    await contract.sdk().connections.set('left', { namespace, mcpUrl: own.url });
    const controller = new AbortController();
    const call = { ...list, method: 'tools/call', params: { name: 'echo', arguments: {} } };
    const work = post('left', call, { signal: controller.signal });
    await until(() => own.received.some(({ message }) => message?.method === 'tools/call'));
    controller.abort();
    await expect(work).rejects.toThrow();
    await until(() => closed);
  });
});

describe('a modern caller of a modern upstream', () => {
  test('is relayed as it came, headers and envelope', async () => {
    const answer = await postModern('modern', 'tools/call', { name: 'echo', arguments: { a: 1 } });
    expect(answer).toMatchObject({
      status: 200,
      body: { id: 1, result: { resultType: 'complete', content: [{ type: 'text', text: '{"a":1}' }] } },
    });
    const received = modern.received.at(-1);
    expect(received?.headers).toMatchObject({
      'mcp-protocol-version': modernVersion,
      'mcp-method': 'tools/call',
      'mcp-name': 'echo',
      'x-stored': 'secret',
    });
    expect(received?.headers).not.toHaveProperty('authorization');
    expect(received?.message).toMatchObject({ id: 1, params: { _meta: expect.any(Object) } });
  });

  test('discovers, and gets errors, as the upstream answers', async () => {
    expect(await postModern('modern', 'server/discover')).toMatchObject({
      status: 200,
      body: { result: { supportedVersions: [modernVersion] } },
    });
    expect(await postModern('modern', 'tools/call', { name: 'boom' })).toMatchObject({
      status: 200,
      body: { id: 1, error: { code: -32602, message: 'bad argument' } },
    });
    expect((await postModern('modern', 'no/such')).body).toMatchObject({ error: { code: -32601 } });
  });
});
