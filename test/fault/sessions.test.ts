import type { ServerResponse } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Answer, connect, count, echoCall, mcp, put, read, rest } from '../fixtures/fault.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';
import {
  type LegacyOptions,
  legacyServer,
  RpcError,
  sendJson,
  startUpstream,
  type Upstream,
} from '../fixtures/upstream.ts';

let pb: TestPatchbay;
beforeAll(async () => {
  pb = await startPatchbay({
    limits: { callTimeoutMs: 700, discoverMs: 1_000, probeMs: 4_000, endSessionMs: 500 },
  });
});
afterAll(async () => {
  await pb?.stop();
});

let serial = 0;

interface Sessioned {
  id: string;
  up: Upstream;
  server: ReturnType<typeof legacyServer>;
}

/** A connection to an upstream that keeps sessions. */
async function sessioned(options: LegacyOptions = {}): Promise<Sessioned> {
  const server = legacyServer({ sessions: true, ...options });
  const up = await startUpstream(server.handler);
  const id = `s${++serial}`;
  await connect(pb, id, up.url);
  return { id, up, server };
}

/** Both ways to call a tool. */
const ways: { way: string; call: (id: string, args?: Record<string, unknown>) => Promise<Answer> }[] = [
  { way: '.tools', call: (id, args) => rest(pb, id, args) },
  { way: 'the MCP endpoint', call: (id, args) => mcp(pb, id, echoCall('r', args)) },
];

const rpcError =
  (status: number, code: number) => (response: ServerResponse, message: Record<string, unknown>) =>
    sendJson(response, status, {
      jsonrpc: '2.0',
      id: message.id ?? null,
      error: { code, message: 'say what you like' },
    });

const losses = [
  { shape: '404 with a JSON-RPC error', lostSession: rpcError(404, -32001) },
  {
    shape: '404 without a body',
    lostSession: (response: ServerResponse) => void response.writeHead(404).end(),
  },
  {
    shape: '404 with a page',
    lostSession: (response: ServerResponse) =>
      void response.writeHead(404, { 'content-type': 'text/html' }).end('<h1>Not found</h1>'),
  },
  { shape: '400 with a JSON-RPC error', lostSession: rpcError(400, -32000) },
  {
    shape: '400 with text',
    lostSession: (response: ServerResponse) =>
      void response.writeHead(400, { 'content-type': 'text/plain' }).end('Bad Request: no valid session'),
  },
  { shape: '200 with JSON-RPC -32600', lostSession: rpcError(200, -32600) },
  { shape: '200 with JSON-RPC -32001', lostSession: rpcError(200, -32001) },
  { shape: '400 with JSON-RPC -32600', lostSession: rpcError(400, -32600) },
  { shape: '400 with JSON-RPC -32001', lostSession: rpcError(400, -32001) },
  {
    shape: '200 with JSON-RPC -32001 in an event stream',
    lostSession: (response: ServerResponse, message: Record<string, unknown>) => {
      const error = { jsonrpc: '2.0', id: message.id ?? null, error: { code: -32001, message: 'gone' } };
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(`event: message\ndata: ${JSON.stringify(error)}\n\n`);
    },
  },
];

test.each(losses.flatMap((loss) => ways.map((way) => ({ ...loss, ...way }))))(
  'a session lost with $shape is opened anew, once, and the call over $way answered',
  async ({ lostSession, call }) => {
    let runs = 0;
    const { id, up, server } = await sessioned({
      lostSession,
      call: (_name, args) => {
        runs++;
        return { content: [{ type: 'text', text: JSON.stringify(args) }] };
      },
    });
    expect((await call(id)).status).toBe(200);
    const opened = count(up, 'initialize');
    const ran = runs;
    server.sessions.clear();

    const answer = await call(id, { n: 1 });
    expect(answer.status, answer.text).toBe(200);
    expect(answer.text).toContain('{\\"n\\":1}');
    expect(runs).toBe(ran + 1);
    expect(count(up, 'initialize')).toBe(opened + 1);
    await up.stop();
  },
);

test.each(ways)('a session that is lost again at once is not opened for ever ($way)', async ({ call }) => {
  const { id, up, server } = await sessioned();
  await call(id);
  const opened = count(up, 'initialize');
  up.handle((request, response) => {
    // A server behind a balancer without affinity: the session that was just opened is unknown next door.
    if (request.message?.method !== 'initialize') server.sessions.clear();
    return server.handler(request, response);
  });
  const answer = await call(id);
  expect(answer.status).toBeGreaterThanOrEqual(400);
  expect(count(up, 'initialize') - opened).toBeLessThanOrEqual(2);
  await up.stop();
});

const mayHaveRun: { name: string; fail: (response: ServerResponse) => void; status: number }[] = [
  { name: 'closed without an answer', fail: (response) => void response.socket?.destroy(), status: 502 },
  {
    name: 'closed in the middle of its answer',
    fail: (response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '999' });
      response.write('{"jsonrpc":"2.0",', () => response.socket?.destroy());
    },
    status: 502,
  },
  { name: 'took too long', fail: () => {}, status: 504 },
  { name: 'said 401', fail: (response) => void response.writeHead(401).end(), status: 502 },
  { name: 'said 500', fail: (response) => void response.writeHead(500).end(), status: 502 },
];

test.each(mayHaveRun.flatMap((failure) => ways.map((way) => ({ ...failure, ...way }))))(
  'a call is never repeated after an upstream that $name ($way)',
  async ({ fail, status, call }) => {
    const { id, up, server } = await sessioned();
    up.handle((request, response) => {
      if (request.message?.method !== 'tools/call') return server.handler(request, response);
      // Were the session asked for after this, it would be gone: even then nothing may run twice.
      server.sessions.clear();
      fail(response);
    });
    expect((await call(id)).status).toBe(status);
    expect(count(up, 'tools/call')).toBe(1);
    up.handle(server.handler);
    expect((await call(id)).status).toBe(200);
    expect(count(up, 'tools/call')).toBeLessThanOrEqual(3);
    await up.stop();
  },
);

test.each(ways)('an upstream restarted between two calls is no matter ($way)', async ({ call }) => {
  const { id, up } = await sessioned();
  expect((await call(id)).status).toBe(200);
  await up.stop();
  up.handle(legacyServer({ sessions: true }).handler);
  await up.start();
  expect((await call(id)).status).toBe(200);
  await up.stop();
});

test.each([-32600, -32001])(
  'JSON-RPC error %i of a tool on a living session is passed on, and run once',
  async (code) => {
    let runs = 0;
    const { id, up } = await sessioned({
      call: () => {
        runs++;
        throw new RpcError(code, 'this very argument is wrong');
      },
    });
    const opened = count(up, 'initialize');
    const overMcp = await mcp(pb, id, echoCall(77));
    expect(overMcp.status).toBe(200);
    expect(overMcp.text).toBe(
      `{"jsonrpc":"2.0","id":77,"error":{"code":${code},"message":"this very argument is wrong"}}`,
    );
    expect(runs).toBe(1);
    const overRest = await rest(pb, id);
    expect(overRest.status).toBe(422);
    expect(overRest.json).toEqual({ error: 'tool_error', message: 'this very argument is wrong' });
    expect(runs).toBe(2);
    expect(count(up, 'initialize')).toBe(opened);
    await up.stop();
  },
);

test('many calls that meet the loss at once open one session and each run once', async () => {
  const runs = new Map<unknown, number>();
  const { id, up, server } = await sessioned({
    call: (_name, args) => {
      runs.set(args.n, (runs.get(args.n) ?? 0) + 1);
      return { content: [{ type: 'text', text: String(args.n) }] };
    },
  });
  await rest(pb, id, { n: -1 });
  const opened = count(up, 'initialize');
  server.sessions.clear();
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, n) => (n % 2 ? rest(pb, id, { n }) : mcp(pb, id, echoCall(1, { n })))),
  );
  answers.forEach((answer, n) => {
    expect(answer.status, answer.text).toBe(200);
    expect(answer.text).toContain(`"text":"${n}"`);
    expect(runs.get(n)).toBe(1);
  });
  expect(count(up, 'initialize')).toBe(opened + 1);
  await up.stop();
});

/** Ids as callers write them; each must come back in the very same bytes. */
const idTexts = [
  '1',
  '"1"',
  '1.0',
  '1e2',
  '-0',
  '0.10',
  '12345678901234567890',
  '""',
  '"a\\u0062c"',
  '"\\"quoted\\" \\\\ \\/"',
  '"😀"',
  '"pb-0"',
];
const spacings = ['"id":%', '"id" : %', '"id"\t:\n  % ', '"\\u0069d":  %'];

test.each([false, true])(
  'equal ids of many callers at once never mix answers (event streams: %s)',
  async (sse) => {
    const callers = idTexts.flatMap((idText) => spacings.map((spacing) => ({ idText, spacing })));
    // Every id twice, so that each has a twin under way.
    const calls = [...callers, ...callers].map((caller, n) => ({ ...caller, n }));
    const waiting: (() => void)[] = [];
    const { id, up } = await sessioned({
      sse,
      call: async (_name, { n }) => {
        // Nobody is answered before all have asked; then the last one first.
        await new Promise<void>((resolve) => {
          waiting.push(resolve);
          if (waiting.length === calls.length) for (const go of waiting.toReversed()) go();
        });
        return { content: [{ type: 'text', text: `answer ${n}` }] };
      },
    });
    const patient = await startPatchbay();
    await connect(patient, id, up.url);
    await Promise.all(
      calls.map(async ({ idText, spacing, n }) => {
        const idPart = spacing.replace('%', () => idText);
        const body = `{ "jsonrpc":"2.0", ${idPart},"method":"tools/call","params":{"name":"echo","arguments":{"n":${n},"id":"not this"}}}`;
        const answer = await mcp(patient, id, body);
        const message = `{"jsonrpc":"2.0","id":${idText},"result":{"content":[{"type":"text","text":"answer ${n}"}]}}`;
        expect(answer.text).toBe(sse ? `event: message\ndata: ${message}\n\n` : message);
      }),
    );
    const sent = up.received.filter(({ message }) => message?.method === 'tools/call');
    expect(sent).toHaveLength(calls.length);
    expect(new Set(sent.map(({ message }) => message?.id)).size).toBe(calls.length);
    await patient.stop();
    await up.stop();
  },
);

test('an id given twice is refused: readers disagree on which one counts', async () => {
  const { id, up } = await sessioned();
  for (const second of ['"id":2', '"\\u0069d":2']) {
    const { status } = await mcp(pb, id, `{"jsonrpc":"2.0","id":1,"method":"ping",${second}}`);
    expect(status).toBe(400);
  }
  await up.stop();
});

test.each([
  { way: '.tools', sse: false },
  { way: 'the MCP endpoint', sse: false },
  { way: 'the MCP endpoint', sse: true },
])('a caller that goes away cancels its call at the upstream ($way, events: $sse)', async ({ way, sse }) => {
  const { id, up, server } = await sessioned();
  const other = await startPatchbay({ limits: { drainMs: 300 } });
  await connect(other, id, up.url);
  up.handle((request, response) => {
    if (request.message?.method !== 'tools/call') return server.handler(request, response);
    if (sse) response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': working\n\n');
  });
  const caller = new AbortController();
  const gone = { signal: caller.signal };
  const call = way === '.tools' ? rest(other, id, {}, gone) : mcp(other, id, echoCall('mine'), gone);
  const outcome = call.catch((error: Error) => error.name);
  const sent = await until(() => up.received.find(({ message }) => message?.method === 'tools/call'));
  caller.abort();
  expect(await outcome).toBe('AbortError');
  const told = await until(() =>
    up.received.find(({ message }) => message?.method === 'notifications/cancelled'),
  );
  expect(told.message?.params).toMatchObject({ requestId: sent.message?.id });
  expect(told.headers['mcp-session-id']).toBe(sent.headers['mcp-session-id']);
  up.handle(server.handler);
  await other.stop();
  await up.stop();
});

test.each(ways)('a call that runs out of time is cancelled at the upstream ($way)', async ({ call }) => {
  const { id, up, server } = await sessioned();
  await rest(pb, id);
  up.handle((request, response) =>
    request.message?.method === 'tools/call' ? undefined : server.handler(request, response),
  );
  const before = up.received.length;
  expect((await call(id)).status).toBe(504);
  const sent = up.received.slice(before).find(({ message }) => message?.method === 'tools/call');
  const told = await until(
    () => up.received.find(({ message }) => message?.method === 'notifications/cancelled'),
    3_000,
  );
  expect(told.message?.params).toMatchObject({ requestId: sent?.message?.id });
  await up.stop();
});

test('stateless calls share the one session of their connection', async () => {
  const { id, up, server } = await sessioned();
  await Promise.all(Array.from({ length: 12 }, (_, n) => (n % 2 ? rest(pb, id) : mcp(pb, id, echoCall(n)))));
  const used = new Set(
    up.received
      .filter(({ message }) => message?.method === 'tools/call')
      .map(({ headers }) => headers['mcp-session-id']),
  );
  expect([...used]).toEqual([...server.sessions]);
  await up.stop();
});

test('a session is not shared across connections, not even to the same upstream', async () => {
  const { id, up } = await sessioned();
  const other = `s${++serial}`;
  await connect(pb, other, up.url);
  await mcp(pb, id, echoCall(1, { from: id }));
  await mcp(pb, other, echoCall(1, { from: other }));
  const used = up.received
    .filter(({ message }) => message?.method === 'tools/call')
    .map(({ headers }) => headers['mcp-session-id']);
  expect(used).toHaveLength(2);
  expect(new Set(used).size).toBe(2);
  await up.stop();
});

test('new headers mean a new session, and the old one is ended', async () => {
  const { id, up, server } = await sessioned();
  await rest(pb, id);
  const [old] = [...server.sessions];
  expect((await put(pb, id, { headers: { 'x-key': 'second' } })).status).toBe(200);
  await rest(pb, id);
  const last = up.received.filter(({ message }) => message?.method === 'tools/call').at(-1);
  expect(last?.headers).toMatchObject({ 'x-key': 'second' });
  expect(last?.headers['mcp-session-id']).not.toBe(old);
  await until(() => !server.sessions.has(old as string));
  await up.stop();
});

test('a setting that probes again leaves no session behind', async () => {
  const { id, up, server } = await sessioned();
  for (let n = 0; n < 5; n++) await put(pb, id, { name: `name ${n}` });
  await until(() => server.sessions.size === 1);
  await up.stop();
});

test.each(['the connection', 'its namespace', 'the server (stopped)'])(
  'the upstream session ends with %s',
  async (what) => {
    const own = await startPatchbay();
    const server = legacyServer({ sessions: true });
    const up = await startUpstream(server.handler);
    await read(await own.request('/namespaces/shortlived', { method: 'PUT', json: {} }));
    await read(await own.request('/connect/shortlived/x', { method: 'PUT', json: { mcpUrl: up.url } }));
    await read(await own.request('/connect/shortlived/x/.tools'));
    expect(server.sessions.size).toBe(1);
    if (what === 'the connection') await own.request('/connect/shortlived/x', { method: 'DELETE' });
    if (what === 'its namespace') await own.request('/namespaces/shortlived', { method: 'DELETE' });
    await own.stop();
    expect(server.sessions.size).toBe(0);
    await up.stop();
  },
);

test('DELETE of a connection ends its session while the server runs on', async () => {
  const { id, up, server } = await sessioned();
  const [session] = [...server.sessions];
  expect((await pb.request(`/connect/default/${id}`, { method: 'DELETE' })).status).toBe(200);
  expect(server.sessions.size).toBe(0);
  const ended = up.received.filter(({ method }) => method === 'DELETE');
  expect(ended.map(({ headers }) => headers['mcp-session-id'])).toEqual([session]);
  expect((await rest(pb, id)).status).toBe(404);
  await up.stop();
});

test('an upstream that does not answer the end of a session does not hold up the DELETE', async () => {
  const { id, up, server } = await sessioned();
  up.handle((request, response) =>
    request.method === 'DELETE' ? undefined : server.handler(request, response),
  );
  const startedAt = performance.now();
  expect((await pb.request(`/connect/default/${id}`, { method: 'DELETE' })).status).toBe(200);
  expect(performance.now() - startedAt).toBeLessThan(2_500);
  await up.stop();
});
