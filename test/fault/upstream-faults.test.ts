import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect, echoCall, expectNoLeak, mcp, put, read, rest, untilState } from '../fixtures/fault.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { type Handler, legacyServer, sendJson, startUpstream, type Upstream } from '../fixtures/upstream.ts';

/** Small, so that a fault is over soon; large enough for a healthy answer on a busy machine. */
const limits = {
  discoverMs: 500,
  probeMs: 1_200,
  listMs: 2_000,
  callTimeoutMs: 2_000,
  idleTimeoutMs: 2_000,
  healMinMs: 30,
  healMaxMs: 150,
  healSweepMs: 100,
  endSessionMs: 200,
};

let pb: TestPatchbay;
let elsewhere: Upstream;
beforeAll(async () => {
  pb = await startPatchbay({ limits });
  elsewhere = await startUpstream(legacyServer().handler);
});
afterAll(async () => {
  await pb?.stop();
  await elsewhere?.stop();
});

interface Fault {
  name: string;
  serve: Handler;
  status: number;
  /** What a person reads, over every way of asking. */
  message: RegExp;
}

const healthy = legacyServer({ sessions: true }).handler;
const raw =
  (bytes: string): Handler =>
  (_request, response) =>
    void response.socket?.end(bytes);
const json = 'content-type: application/json';

/** One byte a second, for ever. */
function drip(text: string, write: (byte: string) => void, gone: (stop: () => void) => void): void {
  let at = 0;
  const timer = setInterval(() => write(text[at++ % text.length] as string), 1_000);
  gone(() => clearInterval(timer));
}

const faults: Fault[] = [
  { name: 'hangs', serve: () => {}, status: 504, message: /in time/ },
  {
    name: 'hangs after its head',
    serve: (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
    },
    status: 504,
    message: /in time/,
  },
  {
    name: 'drips its body, a byte a second',
    serve: (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).write('{');
      drip(
        ' ',
        (byte) => response.write(byte),
        (stop) => response.once('close', stop),
      );
    },
    status: 504,
    message: /in time/,
  },
  {
    name: 'drips its head, a byte a second',
    serve: (_request, response) => {
      const { socket } = response;
      socket?.write('HTTP/1.1 200 OK\r\nx-slow: ');
      drip(
        'a',
        (byte) => socket?.write(byte),
        (stop) => socket?.once('close', stop),
      );
    },
    status: 504,
    message: /in time/,
  },
  {
    name: 'redirects in a loop',
    serve: ({ path }, response) => response.writeHead(307, { location: path }).end() as unknown as undefined,
    status: 502,
    message: /redirects too often/,
  },
  {
    name: 'redirects to another origin',
    serve: (_request, response) => void response.writeHead(307, { location: elsewhere.url }).end(),
    status: 502,
    message: /redirects \(307\) to http:\/\/127/,
  },
  {
    name: 'redirects to a metadata address',
    serve: (_request, response) =>
      void response.writeHead(308, { location: 'http://169.254.169.254/latest/meta-data/' }).end(),
    status: 502,
    message: /redirects \(308\)/,
  },
  {
    name: 'redirects with 302, which would drop the body',
    serve: (_request, response) => void response.writeHead(302, { location: '/other' }).end(),
    status: 502,
    message: /redirects \(302\)/,
  },
  {
    name: 'redirects to nowhere',
    serve: (_request, response) => void response.writeHead(307).end(),
    status: 502,
    message: /Location/,
  },
  {
    name: 'closes without an answer',
    serve: (_request, response) => void response.socket?.destroy(),
    status: 502,
    message: /closed the connection/,
  },
  {
    name: 'closes in the middle of its JSON (content-length)',
    serve: raw(`HTTP/1.1 200 OK\r\n${json}\r\ncontent-length: 500\r\n\r\n{"jsonrpc":"2.0","id"`),
    status: 502,
    message: /closed the connection/,
  },
  {
    name: 'closes in the middle of its JSON (chunked)',
    serve: raw(`HTTP/1.1 200 OK\r\n${json}\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"jso\r\n`),
    status: 502,
    message: /closed the connection/,
  },
  {
    name: 'answers HTML',
    serve: (_request, response) =>
      void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>hello</html>'),
    status: 502,
    message: /not an MCP server: answered text\/html/,
  },
  {
    name: 'answers no content type',
    serve: (_request, response) => void response.writeHead(200).end('hello'),
    status: 502,
    message: /not an MCP server/,
  },
  {
    name: 'answers garbage as JSON',
    serve: (_request, response) =>
      void response.writeHead(200, { 'content-type': 'application/json' }).end('\u0000\u0001 nonsense'),
    status: 502,
    message: /not an MCP server/,
  },
  {
    name: 'answers half a JSON document, properly ended',
    serve: (_request, response) =>
      void response.writeHead(200, { 'content-type': 'application/json' }).end('{"jsonrpc":"2.0","id":'),
    status: 502,
    message: /not an MCP server/,
  },
  {
    name: 'answers JSON that is no JSON-RPC',
    serve: (_request, response) => sendJson(response, 200, { hello: 'world' }),
    status: 502,
    message: /not an MCP server|no JSON-RPC/,
  },
  {
    name: 'answers under a JSON-RPC id that nobody asked with',
    serve: (_request, response) =>
      sendJson(response, 200, { jsonrpc: '2.0', id: 'someone-else', result: { tools: [], content: [] } }),
    status: 502,
    message: /./,
  },
  {
    name: 'answers huge headers',
    serve: (_request, response) =>
      void response
        .writeHead(200, { 'content-type': 'application/json', 'x-big': 'a'.repeat(300_000) })
        .end('{}'),
    status: 502,
    message: /HTTP/,
  },
  {
    name: 'answers invalid HTTP',
    serve: raw('SSH-2.0-OpenSSH_9.2\r\n\r\n'),
    status: 502,
    message: /HTTP/,
  },
  {
    name: 'answers 401',
    serve: (_request, response) => void response.writeHead(401, { 'www-authenticate': 'Basic' }).end(),
    status: 502,
    message: /refused the credentials \(401\)/,
  },
  {
    name: 'answers 403',
    serve: (_request, response) => void response.writeHead(403).end(),
    status: 502,
    message: /refused the credentials \(403\)/,
  },
  {
    name: 'answers 404',
    serve: (_request, response) => void response.writeHead(404).end('nothing here'),
    status: 502,
    message: /answered 404 at \/mcp/,
  },
  {
    name: 'answers 500',
    serve: (_request, response) => void response.writeHead(500).end('Traceback (most recent call last)'),
    status: 502,
    message: /answered 500 at \/mcp/,
  },
  {
    name: 'answers 503 with a JSON-RPC error',
    serve: ({ message }, response) =>
      sendJson(response, 503, {
        jsonrpc: '2.0',
        id: message?.id ?? null,
        error: { code: -32000, message: 'x' },
      }),
    status: 502,
    message: /answered 503 at \/mcp/,
  },
];

let serial = 0;
const freshId = () => `c${++serial}`;

test.each(faults)(
  'creating a connection to an upstream that $name answers 201 in time, with the reason',
  async ({ serve, message }) => {
    const up = await startUpstream(serve);
    const id = freshId();
    const startedAt = performance.now();
    const { status, json, text } = await put(pb, id, { mcpUrl: up.url });
    expect(performance.now() - startedAt).toBeLessThan(limits.probeMs + 2_000);
    expect(status).toBe(201);
    expect(json.status).toMatchObject({ state: 'error', message: expect.stringMatching(message) });
    expectNoLeak(text, pb);
    await up.stop();
  },
);

test.each(faults)(
  'an upstream that $name fails every call clearly, and works again by itself',
  async ({ serve, status, message }) => {
    const up = await startUpstream(healthy);
    const id = freshId();
    await connect(pb, id, up.url);
    expect((await rest(pb, id)).status).toBe(200);

    up.handle(serve);
    const answers = [
      await read(await pb.request(`/connect/default/${id}/.tools`)),
      await rest(pb, id),
      await mcp(pb, id, echoCall('an id')),
    ];
    for (const answer of answers) {
      expect(answer.status, answer.text).toBe(status);
      expect(answer.headers.get('x-should-retry')).toBe('false');
      expectNoLeak(answer.text, pb);
    }
    expect(answers[0]?.json.message).toMatch(message);
    expect(answers[2]?.json).toMatchObject({
      jsonrpc: '2.0',
      id: 'an id',
      error: { code: expect.any(Number), message: expect.stringMatching(message) },
    });
    expect((await untilState(pb, id, 'error')).message).toMatch(message);

    up.handle(healthy);
    expect((await mcp(pb, id, echoCall(7, { back: true }))).json).toMatchObject({
      id: 7,
      result: { content: [{ text: '{"back":true}' }] },
    });
    expect((await rest(pb, id, { back: true })).json).toEqual({
      content: [{ type: 'text', text: '{"back":true}' }],
    });
    await untilState(pb, id, 'connected');
    await up.stop();
  },
);

test('an upstream that nobody listens at is refused, and the call may be repeated: it did not run', async () => {
  const up = await startUpstream(healthy);
  const id = freshId();
  await connect(pb, id, up.url);
  await up.stop();
  for (const answer of [await rest(pb, id), await mcp(pb, id, echoCall())]) {
    expect(answer.status).toBe(502);
    expect(answer.text).toMatch(/connection refused/);
    expect(answer.headers.get('x-should-retry')).not.toBe('false');
  }
  expect(await untilState(pb, id, 'error')).toMatchObject({ message: 'connection refused' });
  await up.start();
  expect((await rest(pb, id)).status).toBe(200);
  await untilState(pb, id, 'connected');
  await up.stop();
});

test('a redirect target never sees a request, whatever the status of the redirect', async () => {
  const status = { code: 301 };
  const up = await startUpstream((_request, response) => {
    response.writeHead(status.code, { location: elsewhere.url }).end();
  });
  for (const code of [301, 302, 303, 307, 308]) {
    status.code = code;
    await put(pb, freshId(), { mcpUrl: up.url, headers: { authorization: 'Bearer hidden' } });
  }
  expect(up.received.length).toBeGreaterThanOrEqual(5);
  expect(elsewhere.received).toEqual([]);
  await up.stop();
});

test.each([307, 308])('a %i within the origin is followed, with body and credentials', async (code) => {
  const up = await startUpstream((request, response) => {
    if (request.path === '/mcp') response.writeHead(code, { location: '/moved/here' }).end();
    else return healthy(request, response);
  });
  const id = freshId();
  await connect(pb, id, up.url, { headers: { 'x-key': 'k' } });
  expect((await rest(pb, id, { a: 1 })).json).toEqual({ content: [{ type: 'text', text: '{"a":1}' }] });
  expect((await mcp(pb, id, echoCall('r', { a: 2 }))).json).toMatchObject({
    id: 'r',
    result: { content: [{ text: '{"a":2}' }] },
  });
  const followed = up.received.filter(({ path }) => path === '/moved/here');
  expect(followed.length).toBeGreaterThan(3);
  expect(followed.every(({ headers }) => headers['x-key'] === 'k')).toBe(true);
  await up.stop();
});

test('429 of a call is passed on with Retry-After, and does not make the connection an error', async () => {
  const up = await startUpstream(healthy);
  const id = freshId();
  await connect(pb, id, up.url);
  up.handle((request, response) => {
    if (!String(request.message?.method).startsWith('tools/')) return healthy(request, response);
    response.writeHead(429, { 'retry-after': '17' }).end();
  });
  for (const answer of [await mcp(pb, id, echoCall()), await rest(pb, id)]) {
    expect(answer.status, answer.text).toBe(429);
    expect(answer.headers.get('retry-after')).toBe('17');
  }
  // A status that changed is stored before the next restart; reading after it misses nothing.
  await pb.restart();
  expect(await stored(id)).toEqual({ state: 'connected' });
  await up.stop();
});

test('a JSON-RPC error on tools/list is told as such, and does not make the connection an error', async () => {
  const up = await startUpstream(healthy);
  const id = freshId();
  await connect(pb, id, up.url);
  up.handle((request, response) => {
    if (request.message?.method !== 'tools/list') return healthy(request, response);
    const error = { code: -32603, message: 'the list is being built' };
    sendJson(response, 200, { jsonrpc: '2.0', id: request.message.id, error });
  });
  const answer = await read(await pb.request(`/connect/default/${id}/.tools`));
  expect(answer.status).toBeGreaterThanOrEqual(400);
  expect(answer.text).toMatch(/-32603|the list is being built/);
  await pb.restart();
  expect(await stored(id)).toEqual({ state: 'connected' });
  await up.stop();
});

test('tools of a namespace wait for a dead upstream no longer than its own limit, and show the others', async () => {
  const own = await startPatchbay({ limits: { ...limits, namespaceListMs: 600 } });
  const good = await startUpstream(healthy);
  const bad = await startUpstream(healthy);
  await connect(own, 'good', good.url);
  await connect(own, 'bad', bad.url);
  await put(own, 'never', { mcpUrl: 'http://127.0.0.1:9/mcp' });
  bad.handle(() => {});
  const startedAt = performance.now();
  const { status, json } = await read(await own.request('/connect/default/.tools'));
  expect(performance.now() - startedAt).toBeLessThan(2_500);
  expect(status).toBe(200);
  expect(json).toMatchObject({
    good: { status: { state: 'connected' }, tools: [{ name: 'echo' }] },
    bad: { error: { error: 'upstream_timeout' } },
    never: { status: { state: 'error' }, error: { error: 'upstream_failed' } },
  });
  await own.stop();
  await good.stop();
  await bad.stop();
});

async function stored(id: string): Promise<unknown> {
  const row = await pb.store.db
    .selectFrom('connections')
    .select('status')
    .where('id', '=', id)
    .executeTakeFirstOrThrow();
  return JSON.parse(row.status);
}
