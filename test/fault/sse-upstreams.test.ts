import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  type Answer,
  connect,
  echoCall,
  expectNoLeak,
  mcp,
  put,
  rest,
  stored,
  untilState,
} from '../fixtures/fault.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { accept, type SseCall, type SseServer, startSseServer } from '../fixtures/sse-server.ts';
import { until } from '../fixtures/until.ts';
import { startUpstream } from '../fixtures/upstream.ts';

/** Small, so that a fault is over soon; large enough for a healthy answer on a busy machine. */
const limits = {
  discoverMs: 1_000,
  probeMs: 4_000,
  sseEndpointMs: 700,
  callTimeoutMs: 3_000,
  healMinMs: 30,
  healMaxMs: 150,
  healSweepMs: 100,
  endSessionMs: 200,
  collectedAnswerBytes: 64 * 1024,
};

let pb: TestPatchbay;
let server: SseServer;
let id: string;
let serial = 0;
beforeAll(async () => {
  pb = await startPatchbay({ limits });
});
afterAll(() => pb?.stop());
beforeEach(async () => {
  server = await startSseServer();
  id = `sse-${++serial}`;
});
afterEach(() => server.stop());

/** Both ways to call a tool. */
const ways: { way: string; call: (text: string) => Promise<Answer> }[] = [
  { way: '.tools', call: (text) => rest(pb, id, { text }) },
  { way: 'the MCP endpoint', call: (text) => mcp(pb, id, echoCall(text, { text })) },
];

/** From now on tool calls are collected, and accepted; nothing else is done with them. */
function holdCalls(): SseCall[] {
  const held: SseCall[] = [];
  server.bend({
    on: (call) => {
      if (call.message.method !== 'tools/call') return false;
      held.push(call);
      accept(call.response);
      return true;
    },
  });
  return held;
}

describe('a server that speaks HTTP+SSE alone', () => {
  test('is connected, and its stream is closed again after the probe', async () => {
    const { status, json } = await put(pb, id, { mcpUrl: server.url });
    expect(status).toBe(201);
    expect(json).toMatchObject({ status: { state: 'connected' }, serverInfo: { name: 'sse-fixture' } });
    await until(() => server.clients.size === 0);
  });

  test('is healed in the background when it comes back', async () => {
    const { port, url } = server;
    await server.stop();
    expect((await put(pb, id, { mcpUrl: url })).json.status).toMatchObject({ state: 'error' });
    await server.start();
    expect(server.port).toBe(port);
    await untilState(pb, id, 'connected');
    expect((await mcp(pb, id, echoCall())).status).toBe(200);
  });

  test('keeps its sessions apart: one shared by callers without a session, ids and answers unmixed', async () => {
    await connect(pb, id, server.url);
    const opened = server.opened;
    const calls = Array.from({ length: 40 }, (_, n) => mcp(pb, id, echoCall(1, { n })));
    for (const [n, { status, json }] of (await Promise.all(calls)).entries()) {
      expect(status).toBe(200);
      const content = [{ type: 'text', text: JSON.stringify({ n }) }];
      expect(json).toEqual({ jsonrpc: '2.0', id: 1, result: { content } });
    }
    expect(server.opened - opened).toBe(1);
  });

  test('is introduced to a caller without a session, by initialize and without', async () => {
    await connect(pb, id, server.url);
    const params = {
      protocolVersion: '2025-06-18',
      capabilities: {},
      clientInfo: { name: 'c', version: '1' },
    };
    const hello = await mcp(pb, id, { jsonrpc: '2.0', id: 'i', method: 'initialize', params });
    expect(hello.json).toMatchObject({
      id: 'i',
      result: { protocolVersion: '2024-11-05', serverInfo: { name: 'sse-fixture' } },
    });
    expect(hello.headers.get('mcp-session-id')).toBeNull();
    const done = await mcp(pb, id, { jsonrpc: '2.0', method: 'notifications/initialized' });
    expect([done.status, done.text]).toEqual([202, '']);
    const listed = await mcp(pb, id, { jsonrpc: '2.0', id: 2, method: 'tools/list' });
    expect(listed.json).toMatchObject({ id: 2, result: { tools: [{ name: 'echo' }] } });
    const unknown = await mcp(pb, id, { jsonrpc: '2.0', id: 3, method: 'no/such' });
    expect(unknown.json).toEqual({
      jsonrpc: '2.0',
      id: 3,
      error: { code: -32601, message: 'Method not found' },
    });
  });

  test('hears the notifications of callers, but none that names a request of another', async () => {
    await connect(pb, id, server.url);
    await mcp(pb, id, echoCall());
    for (const method of ['notifications/cancelled', 'notifications/progress', 'notifications/of/mine']) {
      const params = { requestId: 1, progressToken: 1, progress: 1 };
      expect((await mcp(pb, id, { jsonrpc: '2.0', method, params })).status).toBe(202);
    }
    const heard = server.calls.map(({ message }) => message.method);
    expect(heard).toContain('notifications/of/mine');
    expect(heard).not.toContain('notifications/cancelled');
    expect(heard).not.toContain('notifications/progress');
  });

  test('brings progress to its caller ahead of the answer', async () => {
    await connect(pb, id, server.url);
    server.bend({
      on: ({ message, session, response }) => {
        if (message.method !== 'tools/call') return false;
        const { progressToken } = (message.params as { _meta: { progressToken: unknown } })._meta;
        session.send({ method: 'notifications/progress', params: { progressToken, progress: 1 } });
        session.send({ id: message.id, result: { content: [] } });
        accept(response);
        return true;
      },
    });
    const call = { name: 'echo', arguments: {}, _meta: { progressToken: 'mine' } };
    const answer = await mcp(pb, id, { jsonrpc: '2.0', id: 9, method: 'tools/call', params: call });
    const messages = answer.text
      .split('\n')
      .flatMap((line) => (line.startsWith('data: ') ? [line.slice(6)] : []));
    expect(messages.map((text) => JSON.parse(text))).toEqual([
      { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 'mine', progress: 1 } },
      { jsonrpc: '2.0', id: 9, result: { content: [] } },
    ]);
  });

  test('is told when a caller goes away', async () => {
    await connect(pb, id, server.url);
    const held = holdCalls();
    const caller = new AbortController();
    const gone = mcp(pb, id, echoCall('gone'), { signal: caller.signal }).catch((error: unknown) => error);
    const { message } = await until(() => held[0]);
    caller.abort();
    await gone;
    const cancelled = await until(() =>
      server.calls.find((call) => call.message.method === 'notifications/cancelled'),
    );
    expect(cancelled.message.params).toMatchObject({ requestId: message.id });
  });

  test('keeps no stream of a connection that is deleted', async () => {
    await connect(pb, id, server.url);
    await mcp(pb, id, echoCall());
    expect(server.clients.size).toBe(1);
    await pb.request(`/connect/default/${id}`, { method: 'DELETE' });
    await until(() => server.clients.size === 0);
  });

  test('keeps no stream of a Patchbay that stops', async () => {
    const other = await startPatchbay({ limits });
    try {
      await connect(other, id, server.url);
      await mcp(other, id, echoCall());
      expect(server.clients.size).toBe(1);
    } finally {
      await other.stop();
    }
    await until(() => server.clients.size === 0);
  });
});

describe('an endpoint that is not the server’s own', () => {
  test.each<[what: string, address: (port: number) => string]>([
    ['at another port', (port) => `http://127.0.0.1:${port}/message`],
    ['at another host', (port) => `http://localhost:${port}/message`],
    ['without a scheme', (port) => `//127.0.0.1:${port}/message`],
  ])('gets no request, and no credential: %s', async (_what, address) => {
    const attacker = await startUpstream((_request, response) => void response.writeHead(202).end());
    try {
      server.bend({ greeting: () => `event: endpoint\ndata: ${address(attacker.port)}\n\n` });
      const { json } = await put(pb, id, { mcpUrl: server.url, headers: { 'x-api-key': 'only-for-you' } });
      expect(json.status).toEqual({
        state: 'error',
        message: expect.stringMatching(/another origin/),
      });
      expect(attacker.received).toEqual([]);
      await until(() => server.clients.size === 0);
    } finally {
      await attacker.stop();
    }
  });

  test('is refused too when it comes only after the probe', async () => {
    const attacker = await startUpstream((_request, response) => void response.writeHead(202).end());
    try {
      await connect(pb, id, server.url, { headers: { 'x-api-key': 'only-for-you' } });
      server.bend({ greeting: () => `event: endpoint\ndata: http://127.0.0.1:${attacker.port}/\n\n` });
      for (const { call } of ways) {
        const { status, text } = await call('x');
        expect(status).toBe(502);
        expect(text).toMatch(/another origin/);
        expectNoLeak(text, pb);
      }
      expect(attacker.received).toEqual([]);
    } finally {
      await attacker.stop();
    }
  });

  test('is not followed where a redirect leads to another origin', async () => {
    const attacker = await startUpstream((_request, response) => void response.writeHead(202).end());
    try {
      await connect(pb, id, server.url, { headers: { 'x-api-key': 'only-for-you' } });
      server.bend({
        on: ({ response }) => {
          response.writeHead(307, { location: `http://127.0.0.1:${attacker.port}/` }).end();
          return true;
        },
      });
      expect((await mcp(pb, id, echoCall())).status).toBe(502);
      expect(attacker.received).toEqual([]);
    } finally {
      await attacker.stop();
    }
  });
});

test('a server whose endpoint never comes is an error in bounded time', async () => {
  server.bend({ greeting: () => ': nothing\n\n' });
  const { json } = await put(pb, id, { mcpUrl: server.url });
  // What the POST said stays what is wrong.
  expect(json.status).toEqual({ state: 'error', message: 'upstream answered 405 at /sse' });
  await until(() => server.clients.size === 0);

  server.bend({});
  await untilState(pb, id, 'connected');
  server.bend({ greeting: () => ': nothing\n\n' });
  const { status, text } = await mcp(pb, id, echoCall());
  expect(status).toBe(504);
  expect(text).toMatch(/in time/);
});

describe.each(ways)('over $way', ({ call }) => {
  test('a stream that is cut fails its calls at once, and the next call works', async () => {
    await connect(pb, id, server.url);
    const held = holdCalls();
    const calls = Array.from({ length: 5 }, (_, n) => call(`${n}`));
    await until(() => held.length === 5);
    for (const { stream } of server.clients.values()) stream.destroy();
    for (const { status, text, headers } of await Promise.all(calls)) {
      expect(status).toBe(502);
      // It may have run, so nobody is to repeat it.
      expect(headers.get('x-should-retry')).toBe('false');
      expectNoLeak(text, pb);
    }
    expect(held).toHaveLength(5);
    server.bend({});
    expect((await call('again')).status).toBe(200);
  });

  test('a server that is restarted between calls is reached again', async () => {
    await connect(pb, id, server.url);
    expect((await call('before')).status).toBe(200);
    await server.stop();
    await server.start();
    // A call made before the end of the old stream was heard may have run, and is not repeated.
    await until(async () => (await call('after')).status === 200);
    // A probe that the old stream's end set off has one of its own, for as long as it lasts.
    await until(() => server.clients.size === 1);
  });

  test('a server that forgot the session, though its stream is open, gets another', async () => {
    await connect(pb, id, server.url);
    expect((await call('before')).status).toBe(200);
    server.clients.clear();
    expect((await call('after')).status).toBe(200);
    expect((await stored(pb, id)).state).toBe('connected');
  });

  test('an event that is too large fails its call, and no other connection', async () => {
    await connect(pb, id, server.url);
    server.bend({
      on: ({ message, session, response }) => {
        if (message.method !== 'tools/call') return false;
        session.send({ id: message.id, result: { content: [{ type: 'text', text: 'x'.repeat(100_000) }] } });
        accept(response);
        return true;
      },
    });
    const { status, text } = await call('large');
    expect(status).toBe(502);
    expect(text).toMatch(/more than/);
  });

  test('a message that the server rejects is the caller’s fault, and the connection stays', async () => {
    await connect(pb, id, server.url);
    server.bend({
      on: ({ message, response }) => {
        if (message.method !== 'tools/call') return false;
        response.writeHead(413).end('too large');
        return true;
      },
    });
    const { status } = await call('rejected');
    expect([400, 502]).toContain(status);
    server.bend({});
    expect((await call('fine')).status).toBe(200);
    await untilState(pb, id, 'connected');
  });
});
