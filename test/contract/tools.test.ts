import { beforeAll, describe, expect, test } from 'vitest';
import { legacyServer, modernServer, RpcError, sendJson, type Upstream } from '../fixtures/upstream.ts';
import { refusal, useContract } from './harness.ts';

const contract = useContract();
const namespace = 'default';
const connectionId = 'tooled';
const here = { namespace, connectionId };
let upstream: Upstream;

const echo = {
  name: 'echo',
  title: 'Echo',
  description: 'Says it again',
  inputSchema: { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] },
  outputSchema: { type: 'object', properties: { text: { type: 'string' } } },
  annotations: { readOnlyHint: true, title: 'E' },
  icons: [{ src: 'https://example.com/e.png' }],
  _meta: { 'example.com/x': [1, null] },
};
const names = ['repo.search', 'repo.issues.list', 'repo.issues.get', 'files', 'files.read', 'with/slash'];
const result = {
  content: [{ type: 'text', text: 'hello 🐙' }],
  structuredContent: { deep: [1.5, null, { a: 'b' }] },
  _meta: { 'example.com/y': 1 },
  'x-unknown': true,
};

beforeAll(async () => {
  const { handler } = legacyServer({
    sessions: true,
    tools: [echo, ...['boom', 'fails', ...names].map((name) => ({ name }))],
    call: (name, args) => {
      if (name === 'boom') throw new RpcError(-32602, 'missing argument "text"');
      if (name === 'fails') return { content: [{ type: 'text', text: 'no such file' }], isError: true };
      if (name === 'echo') return result;
      return { content: [{ type: 'text', text: JSON.stringify({ name, args }) }] };
    },
  });
  upstream = await contract.upstream(handler);
  await contract.sdk().connections.set(connectionId, { namespace, mcpUrl: upstream.url });
});

/** The three spellings of a dotted name below `.tools` (api.md §3.1). */
const spellings = ['repo.search', 'repo%2Fsearch', 'repo/search'];

describe('GET …/.tools', () => {
  test('lists the tools as the upstream describes them, in its order', async () => {
    const { tools } = await contract.sdk().connections.tools.list(connectionId, { namespace });
    expect(tools.map(({ name }) => name)).toEqual(['echo', 'boom', 'fails', ...names]);
    expect(tools[0]).toEqual(echo);
  });

  test('follows the upstream’s pages', async () => {
    const { handler } = legacyServer();
    const paged = await contract.upstream((request, response) => {
      if (request.message?.method !== 'tools/list') return handler(request, response);
      const { id, params } = request.message as { id: string; params?: { cursor?: string } };
      const page = Number(params?.cursor ?? '0');
      const tools = [{ name: `tool-${page}`, inputSchema: { type: 'object' } }];
      const next = page < 3 ? { nextCursor: String(page + 1) } : {};
      sendJson(response, 200, { jsonrpc: '2.0', id, result: { tools, ...next } });
    });
    const { connections } = contract.sdk();
    await connections.set('paged', { namespace, mcpUrl: paged.url });
    const { tools } = await connections.tools.list('paged', { namespace });
    expect(tools.map(({ name }) => name)).toEqual(['tool-0', 'tool-1', 'tool-2', 'tool-3']);
    expect(await connections.tools.get('tool-3', { namespace, connectionId: 'paged' })).toEqual(tools[3]);
    const work = connections.tools.call('tool-3', { namespace, connectionId: 'paged', body: {} });
    expect(await refusal(work)).toMatchObject({ status: 422 });
  });

  test('is empty for a server without the tools capability', async () => {
    const { handler } = legacyServer();
    const bare = await contract.upstream((request, response) => {
      if (request.message?.method !== 'tools/list') return handler(request, response);
      const error = { code: -32601, message: 'Method not found' };
      sendJson(response, 200, { jsonrpc: '2.0', id: request.message.id, error });
    });
    await contract.sdk().connections.set('bare', { namespace, mcpUrl: bare.url });
    expect(await contract.sdk().connections.tools.list('bare', { namespace })).toEqual({ tools: [] });
  });

  test('is 404 for a connection that does not exist', async () => {
    const work = contract.sdk().connections.tools.list('missing', { namespace });
    expect(await refusal(work)).toMatchObject({ status: 404 });
  });

  test('is 502 when the upstream answers something else', async () => {
    const { handler } = legacyServer();
    const wrong = await contract.upstream((request, response) =>
      request.message?.method === 'tools/list'
        ? sendJson(response, 200, { jsonrpc: '2.0', id: request.message.id, result: { tools: 'none' } })
        : handler(request, response),
    );
    await contract.sdk().connections.set('wrong', { namespace, mcpUrl: wrong.url });
    const refused = await refusal(contract.sdk().connections.tools.list('wrong', { namespace }));
    expect(refused.status).toBe(502);
    expect(refused.headers.get('x-should-retry')).toBe('false');
  });
});

describe('GET …/.tools/{path}', () => {
  test('answers the tool', async () => {
    expect(await contract.sdk().connections.tools.get('echo', here)).toEqual(echo);
  });

  test.each(spellings)('finds a dotted name spelled %s', async (path) => {
    const answer = await contract.request(`/default/tooled/.tools/${path}`);
    expect(answer).toMatchObject({ status: 200, body: { name: 'repo.search' } });
  });

  test('finds it as the SDK spells it', async () => {
    const { tools } = contract.sdk().connections;
    expect(await tools.get('repo.search', here)).toMatchObject({ name: 'repo.search' });
    expect(await tools.get('repo/search', here)).toMatchObject({ name: 'repo.search' });
    expect(await tools.get('with/slash', here)).toMatchObject({ name: 'with/slash' });
  });

  test.each<[path: string, names: string[]]>([
    ['repo', ['repo.search', 'repo.issues.list', 'repo.issues.get']],
    ['repo/issues', ['repo.issues.list', 'repo.issues.get']],
    ['repo.issues', ['repo.issues.list', 'repo.issues.get']],
    ['repo%2Fissues', ['repo.issues.list', 'repo.issues.get']],
    ['with', ['with/slash']],
  ])('lists what is under the category %s', async (path, names) => {
    const { status, body } = await contract.request(`/connect/default/tooled/.tools/${path}`);
    expect(status).toBe(200);
    const { tools, ...rest } = body as { tools: { name: string }[] };
    expect(tools.map(({ name }) => name)).toEqual(names);
    expect(rest).toEqual({});
  });

  // Design §8, Lists.
  test('prefers a tool to the category of the same name', async () => {
    expect(await contract.sdk().connections.tools.get('files', here)).toMatchObject({ name: 'files' });
  });

  test.each(['missing', 'rep', 'repo/sea', 'repo.search.more', 'Echo', '__proto__', '%00', 'echo%20'])(
    '%s is 404 tool_not_found',
    async (path) => {
      const answer = await contract.request(`/default/tooled/.tools/${path}`);
      expect(answer).toMatchObject({ status: 404, body: { error: 'tool_not_found' } });
    },
  );
});

describe('POST …/.tools/{path}', () => {
  test('answers the CallToolResult as it is', async () => {
    const answer = await contract.request('/default/tooled/.tools/echo', {
      method: 'POST',
      json: { text: 'x' },
    });
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual(result);
    expect(await contract.sdk().connections.tools.call('echo', { ...here, body: { text: 'x' } })).toEqual(
      result,
    );
  });

  test.each([...spellings, 'repo%2Esearch'])('calls a dotted name spelled %s', async (path) => {
    const answer = await contract.request(`/default/tooled/.tools/${path}`, {
      method: 'POST',
      json: { q: 1 },
    });
    expect(answer).toMatchObject({
      status: 200,
      body: { content: [{ type: 'text', text: '{"name":"repo.search","args":{"q":1}}' }] },
    });
  });

  test('hands the arguments on unjudged, whatever the tool’s schema says', async () => {
    const body = { text: 42, extra: { list: [null, '🐙', 1e21] }, 'odd key': true, empty: '' };
    await contract.sdk().connections.tools.call('echo', { ...here, body });
    expect(upstream.received.at(-1)?.message).toMatchObject({
      method: 'tools/call',
      params: { name: 'echo', arguments: body },
    });
    await contract.sdk().connections.tools.call('echo', { ...here, body: {} });
    expect(upstream.received.at(-1)?.message).toMatchObject({ params: { name: 'echo', arguments: {} } });
  });

  test('is 200 for a tool that fails by itself (isError)', async () => {
    const answer = await contract.request('/default/tooled/.tools/fails', { method: 'POST', json: {} });
    expect(answer).toMatchObject({
      status: 200,
      body: { isError: true, content: [{ type: 'text', text: 'no such file' }] },
    });
  });

  test('is 422 tool_error with the upstream’s words for a protocol-level error', async () => {
    const refused = await refusal(contract.sdk().connections.tools.call('boom', { ...here, body: {} }));
    expect(refused).toMatchObject({
      status: 422,
      body: { error: 'tool_error', message: expect.stringContaining('missing argument "text"') },
    });
  });

  test('is 404 for a tool or a category that is none, and calls nothing', async () => {
    upstream.received.length = 0;
    for (const path of ['missing', 'repo', 'repo/issues']) {
      const refused = await refusal(contract.sdk().connections.tools.call(path, { ...here, body: {} }));
      expect(refused).toMatchObject({ status: 404, body: { error: 'tool_not_found' } });
    }
    expect(upstream.received.filter(({ message }) => message?.method === 'tools/call')).toEqual([]);
  });

  test('is 404 for a tool that the upstream no longer has', async () => {
    const own = await contract.upstream(legacyServer({ tools: [{ name: 'old' }, { name: 'kept' }] }).handler);
    const { connections } = contract.sdk();
    await connections.set('changing', { namespace, mcpUrl: own.url });
    const call = (name: string) =>
      connections.tools.call(name, { namespace, connectionId: 'changing', body: {} });
    await call('old');
    own.handle(legacyServer({ tools: [{ name: 'kept' }, { name: 'new' }] }).handler);
    expect(await refusal(call('old'))).toMatchObject({ status: 404, body: { error: 'tool_not_found' } });
    expect(await call('new')).toHaveProperty('content');
  });

  test('is 404 for a connection that does not exist', async () => {
    const work = contract
      .sdk()
      .connections.tools.call('echo', { namespace, connectionId: 'missing', body: {} });
    expect(await refusal(work)).toMatchObject({ status: 404, body: { error: 'connection_not_found' } });
  });

  test.each<[what: string, status: number, options: { body?: string; headers?: Record<string, string> }]>([
    ['no body', 400, {}],
    ['a list', 400, { body: '[]', headers: { 'content-type': 'application/json' } }],
    ['null', 400, { body: 'null', headers: { 'content-type': 'application/json' } }],
    ['no JSON', 400, { body: '{"a":', headers: { 'content-type': 'application/json' } }],
    ['another type', 415, { body: '{}', headers: { 'content-type': 'text/plain' } }],
  ])('%s for arguments is %i, and calls nothing', async (_what, status, options) => {
    upstream.received.length = 0;
    const answer = await contract.request('/default/tooled/.tools/echo', { method: 'POST', ...options });
    expect(answer.status).toBe(status);
    expect(upstream.received).toEqual([]);
  });
});

describe('upstreams of every kind', () => {
  test.each<[what: string, handler: Parameters<typeof contract.upstream>[0]]>([
    ['legacy without sessions', legacyServer().handler],
    ['legacy with sessions', legacyServer({ sessions: true }).handler],
    ['legacy with event streams', legacyServer({ sessions: true, sse: true }).handler],
    ['modern', modernServer().handler],
  ])('%s: listed and called', async (what, handler) => {
    const own = await contract.upstream(handler);
    const { connections } = contract.sdk();
    await connections.set(what, { namespace, mcpUrl: own.url });
    const { tools } = await connections.tools.list(what, { namespace });
    expect(tools).toEqual([{ name: 'echo', inputSchema: { type: 'object' } }]);
    const called = await connections.tools.call('echo', { namespace, connectionId: what, body: { a: 'b' } });
    expect(called).toMatchObject({ content: [{ type: 'text', text: '{"a":"b"}' }] });
  });

  test('a modern upstream’s unknown tool is 404, its protocol error 422', async () => {
    const own = await contract.upstream(
      modernServer({
        call: () => {
          throw new RpcError(-32602, 'bad argument');
        },
      }).handler,
    );
    const { connections } = contract.sdk();
    await connections.set('modern-errors', { namespace, mcpUrl: own.url });
    const call = (name: string) =>
      refusal(connections.tools.call(name, { namespace, connectionId: 'modern-errors', body: {} }));
    expect(await call('missing')).toMatchObject({ status: 404 });
    expect(await call('echo')).toMatchObject({ status: 422, body: { message: 'bad argument' } });
  });

  test.each<[how: string, answer: (response: Parameters<typeof sendJson>[0], id: unknown) => void]>([
    ['404', (response) => sendJson(response, 404, {})],
    ['400', (response) => sendJson(response, 400, { error: 'No valid session ID provided' })],
    [
      'a JSON-RPC error',
      (response, id) =>
        sendJson(response, 200, {
          jsonrpc: '2.0',
          id,
          error: { code: -32001, message: 'Session not found' },
        }),
    ],
  ])('a session lost with %s is opened anew, once, and the call runs once', async (how, answer) => {
    let runs = 0;
    const { handler, sessions } = legacyServer({
      sessions: true,
      lostSession: (response, message) => answer(response, message.id ?? null),
      call: () => ({ content: [{ type: 'text', text: `run ${++runs}` }] }),
    });
    const own = await contract.upstream(handler);
    const { connections } = contract.sdk();
    const id = `loses with ${how}`;
    await connections.set(id, { namespace, mcpUrl: own.url });
    const call = () => connections.tools.call('echo', { namespace, connectionId: id, body: {} });
    await call();
    sessions.clear();
    own.received.length = 0;
    expect(await call()).toMatchObject({ content: [{ text: 'run 2' }] });
    const opened = own.received.filter(({ message }) => message?.method === 'initialize');
    expect(opened).toHaveLength(1);
    expect((await connections.get(id, { namespace })).status).toEqual({ state: 'connected' });
  });
});
