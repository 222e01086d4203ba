import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  type Answer,
  connect,
  echoCall,
  expectNoLeak,
  jsonContent,
  put,
  read,
  stored,
} from '../fixtures/fault.ts';
import { answerGuardedMcp } from '../fixtures/oauth/faulty-mcp-endpoint.ts';
import { bearerToken } from '../fixtures/oauth/guard.ts';
import { answerMcp } from '../fixtures/oauth/mcp-answers.ts';
import { connectByLogin, type OAuthRig, refreshes, setUpOAuth } from '../fixtures/oauth/rig.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { accept, type SseCall, type SseServer, startSseServer } from '../fixtures/sse-server.ts';
import { until } from '../fixtures/until.ts';

const limits = { discoverMs: 1_000, probeMs: 4_000, endSessionMs: 200, sseOwnSessionsPerOrigin: 8 };
const events = { accept: 'application/json, text/event-stream' };

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
  id = `own-${++serial}`;
  await connect(pb, id, server.url);
  await until(() => server.clients.size === 0);
});
afterEach(() => server.stop());

interface Sent {
  message?: unknown;
  session?: string;
  signal?: AbortSignal;
  at?: string;
  from?: TestPatchbay;
}

/** One request to the MCP endpoint of the connection, in a session or without. */
function open(method: string, { message, session, signal, at = id, from = pb }: Sent): Promise<Response> {
  return from.request(`/connect/default/${at}/mcp`, {
    method,
    ...(signal && { signal }),
    ...(message !== undefined && { body: JSON.stringify(message) }),
    headers: { ...jsonContent, ...events, ...(session !== undefined && { 'mcp-session-id': session }) },
  });
}

const post = async (message: unknown, session?: string, more: Sent = {}): Promise<Answer> =>
  read(await open('POST', { message, ...(session !== undefined && { session }), ...more }));

const hello = (capabilities = {}) => ({
  jsonrpc: '2.0',
  id: 'hello',
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities, clientInfo: { name: 'c', version: '1' } },
});

/** Opens a session; its id, and the upstream's end of it. */
async function initialize(capabilities = {}): Promise<{ session: string; client: SseCall['session'] }> {
  const answer = await post(hello(capabilities));
  expect(answer.status).toBe(200);
  expect(answer.json).toMatchObject({ id: 'hello', result: { serverInfo: { name: 'sse-fixture' } } });
  const session = answer.headers.get('mcp-session-id') as string;
  expect((await post({ jsonrpc: '2.0', method: 'notifications/initialized' }, session)).status).toBe(202);
  const client = server.calls.findLast(({ message }) => message.method === 'initialize')?.session;
  return { session, client: client as SseCall['session'] };
}

/** The JSON-RPC messages of a stream, as they come. */
class Listener {
  readonly messages: Record<string, unknown>[] = [];
  isOver = false;

  constructor(response: Response) {
    this.#read(response).catch(() => {
      this.isOver = true;
    });
  }

  async #read(response: Response): Promise<void> {
    let text = '';
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += chunk;
      for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
        const data = text.slice(0, end).split('data: ')[1];
        if (data) this.messages.push(JSON.parse(data));
        text = text.slice(end + 2);
      }
    }
    this.isOver = true;
  }
}

async function listen(session: string): Promise<Listener & { leave: () => void }> {
  const leaving = new AbortController();
  const response = await open('GET', { session, signal: leaving.signal });
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  return Object.assign(new Listener(response), { leave: () => leaving.abort() });
}

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

/** The session is none, whatever is asked of it. */
async function expectNone(session: string, more: Sent = {}): Promise<void> {
  for (const method of ['POST', 'GET', 'DELETE']) {
    const message = method === 'POST' ? { message: echoCall() } : {};
    const answer = await read(await open(method, { session, ...message, ...more }));
    expect({ method, ...answer }).toMatchObject({ status: 404, json: { error: { code: 40405 } } });
    expectNoLeak(answer.text, pb);
  }
}

test('each caller has a session of its own, opened with what it declared', async () => {
  const one = await initialize({ sampling: {} });
  const other = await initialize({ roots: { listChanged: true } });
  expect(server.clients.size).toBe(2);
  const declared = server.calls
    .filter(({ message }) => message.method === 'initialize')
    .slice(-2)
    .map(({ message }) => (message.params as { capabilities: unknown }).capabilities);
  expect(declared).toEqual([{ sampling: {} }, { roots: { listChanged: true } }]);
  expect(one.session).not.toContain(one.client.id);
  await post(echoCall(1, { from: 'other' }), other.session);
  expect(server.calls.at(-1)?.session).toBe(other.client);
});

test('equal ids of two callers do not mix, nor what their servers say', async () => {
  const [one, other] = [await initialize(), await initialize()];
  const [hears, stays] = [await listen(one.session), await listen(other.session)];
  one.client.send({ method: 'notifications/tools/list_changed' });
  await until(() => hears.messages.length === 1);
  const calls = Array.from({ length: 20 }, (_, n) => {
    const session = n % 2 === 0 ? one.session : other.session;
    return post(echoCall(1, { n }), session);
  });
  for (const [n, { json }] of (await Promise.all(calls)).entries()) {
    const content = [{ type: 'text', text: JSON.stringify({ n }) }];
    expect(json).toEqual({ jsonrpc: '2.0', id: 1, result: { content } });
  }
  expect(stays.messages).toEqual([]);
  hears.leave();
  stays.leave();
});

describe('what the server asks', () => {
  const question = { id: 7, method: 'sampling/createMessage', params: { maxTokens: 1 } };

  test('comes on the stream of the call under way, and the answer is POSTed to the server', async () => {
    const { session, client } = await initialize({ sampling: {} });
    const held = holdCalls();
    const call = new Listener(await startCall(session, held, client, question));
    await until(() => call.messages.length === 1);
    expect(call.messages[0]).toEqual({ jsonrpc: '2.0', ...question });
    const answer = { jsonrpc: '2.0', id: 7, result: { role: 'assistant' } };
    expect((await post(answer, session)).status).toBe(202);
    expect(server.calls.at(-1)?.message).toEqual(answer);
    const error = { jsonrpc: '2.0', id: 8, error: { code: -1, message: 'no' } };
    expect((await post(error, session)).status).toBe(202);
    expect(server.calls.at(-1)?.message).toEqual(error);
    client.send({ id: held[0]?.message.id, result: { content: [] } });
    await until(() => call.isOver);
    expect(call.messages.at(-1)).toEqual({ jsonrpc: '2.0', id: 1, result: { content: [] } });
  });

  /** The response to a call begins with what the server says in it. */
  async function startCall(
    session: string,
    held: SseCall[],
    client: SseCall['session'],
    first: Record<string, unknown>,
  ): Promise<Response> {
    const response = open('POST', { message: echoCall(1), session });
    await until(() => held.length === 1);
    client.send(first);
    return response;
  }

  test('comes on the stream of a GET while there is no call', async () => {
    const { session, client } = await initialize({ sampling: {} });
    const stream = await listen(session);
    client.send(question);
    await until(() => stream.messages.length === 1);
    expect(stream.messages).toEqual([{ jsonrpc: '2.0', ...question }]);
    stream.leave();
  });

  test('waits, up to a limit, until its caller opens a stream; then the oldest are missing', async () => {
    const { session, client } = await initialize({ sampling: {} });
    for (let n = 1; n <= 150; n++) client.send({ method: 'notifications/message', params: { n } });
    client.send(question);
    client.send({ id: 'all is read', method: 'ping' });
    await until(() => server.calls.find(({ message }) => message.id === 'all is read'));
    const stream = await listen(session);
    await until(() => stream.messages.length === 100);
    expect(stream.messages[0]).toMatchObject({ params: { n: 52 } });
    expect(stream.messages.at(-1)).toEqual({ jsonrpc: '2.0', ...question });
    client.send({ method: 'notifications/message', params: { n: 'later' } });
    await until(() => stream.messages.length === 101);
    stream.leave();
  });
});

test('nothing that a server says around its answer to initialize is lost', async () => {
  const log = (data: string) => ({ method: 'notifications/message', params: { level: 'info', data } });
  server.bend({
    on: ({ message, session, response }) => {
      if (message.method !== 'initialize') return false;
      const result = { protocolVersion: '2024-11-05', capabilities: {}, serverInfo: { name: 'sse-fixture' } };
      // As one chunk, so that all of it is there at once.
      const said = [log('before'), { id: message.id, result }, log('after')];
      const text = said.map((one) => `data: ${JSON.stringify({ jsonrpc: '2.0', ...one })}\n\n`).join('');
      session.stream.write(text);
      accept(response);
      return true;
    },
  });
  const { session } = await initialize();
  const stream = await listen(session);
  await until(() => stream.messages.length === 2);
  expect(stream.messages).toEqual([log('before'), log('after')].map((one) => ({ jsonrpc: '2.0', ...one })));
  stream.leave();
});

test('a call that its caller cancels is cancelled under the id that the server knows, and has no answer', async () => {
  const { session } = await initialize();
  const held = holdCalls();
  const call = post(echoCall('mine'), session);
  const { message } = await until(() => held[0]);
  const cancel = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'mine' } };
  expect((await post(cancel, session)).status).toBe(202);
  expect(await call).toMatchObject({ status: 200, text: '' });
  const cancelled = await until(() =>
    server.calls.find((one) => one.message.method === 'notifications/cancelled'),
  );
  expect(cancelled.message.params).toMatchObject({ requestId: message.id });
  expect((await stored(pb, id)).state).toBe('connected');
});

test('a stream that is cut fails its calls at once, ends the streams of its caller, and the session is none', async () => {
  const { session, client } = await initialize();
  const stream = await listen(session);
  const held = holdCalls();
  const calls = [1, 2, 3].map((n) => post(echoCall(n), session));
  await until(() => held.length === 3);
  client.stream.destroy();
  for (const answer of await Promise.all(calls)) {
    expect(answer.status).toBe(502);
    expectNoLeak(answer.text, pb);
  }
  await until(() => stream.isOver);
  await expectNone(session);
  server.bend({});
  const again = await initialize();
  expect((await post(echoCall(), again.session)).status).toBe(200);
});

test('a session that the server forgot is none, though its stream is open', async () => {
  const { session } = await initialize();
  server.clients.clear();
  expect((await post(echoCall(), session)).status).toBe(404);
  await expectNone(session);
});

test('a server that is restarted has none of its sessions, and callers get new ones', async () => {
  const { session } = await initialize();
  await server.stop();
  await server.start();
  await until(async () => (await post(echoCall(), session)).status === 404);
  const again = await initialize();
  expect((await post(echoCall(), again.session)).status).toBe(200);
});

test('DELETE closes the stream at the server', async () => {
  const { session } = await initialize();
  expect((await read(await open('DELETE', { session }))).status).toBe(204);
  await until(() => server.clients.size === 0);
  await expectNone(session);
});

test('a session is none of another connection, nor of another process', async () => {
  const { session } = await initialize();
  await connect(pb, `${id}-other`, server.url);
  await expectNone(session, { at: `${id}-other` });
  await expectNone(session.slice(0, -2));
  expect((await post(echoCall(), session)).status).toBe(200);
  const streams = server.clients.size;
  await pb.restart();
  await until(() => server.clients.size < streams);
  await expectNone(session);
});

test.each<[what: string, change: () => Promise<unknown>]>([
  ['new credentials', () => put(pb, id, { headers: { 'x-api-key': 'new' } })],
  ['deletion', () => pb.request(`/connect/default/${id}`, { method: 'DELETE' })],
])('%s of the connection ends its sessions', async (_what, change) => {
  const { session, client } = await initialize();
  await change();
  await until(() => !server.clients.has(client.id));
  expect((await post(echoCall(), session)).status).toBe(404);
});

test('callers that never end their sessions leave no more streams than may be', async () => {
  for (let n = 0; n < 40; n++) await post(hello());
  await until(() => server.clients.size <= 8);
  const { session } = await initialize();
  expect((await post(echoCall(), session)).status).toBe(200);
});

test('initialize fails as a call does, and opens nothing', async () => {
  server.bend({ greeting: () => 'event: endpoint\ndata: http://127.0.0.1:1/\n\n' });
  const answer = await post(hello());
  expect(answer.status).toBe(502);
  expect(answer.headers.get('mcp-session-id')).toBeNull();
  await until(() => server.clients.size === 0);
  const unfit = { jsonrpc: '2.0', id: 1, method: 'initialize', params: {} };
  expect((await post(unfit)).status).toBe(400);
});

describe('a server that wants a login', () => {
  let rig: OAuthRig;
  let own: TestPatchbay;
  beforeEach(async () => {
    rig = await setUpOAuth();
    own = await rig.start();
    const streams = new Map<string, { write: (text: string) => unknown }>();
    // The guarded server as one of 2024-11-05: a GET opens the stream, and POSTs name it.
    rig.server.behaviour.faults.mcp = (response) => {
      const request = rig.server.requestsTo('mcp').at(-1);
      if (!request) throw new Error('a fault without a request');
      const { method, headers, json, url } = request;
      const token = bearerToken(headers);
      if (token === undefined || !rig.server.behaviour.mcp.grantOf(token)) {
        return answerGuardedMcp(request, response, rig.server.behaviour.mcp, rig.server.mcpUrl);
      }
      const stream = streams.get(url.searchParams.get('stream') ?? '');
      if (method === 'GET') {
        const name = `s${streams.size}`;
        streams.set(name, response);
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write(`event: endpoint\ndata: /mcp?stream=${name}\n\n`);
      } else if (stream && json) {
        const { body } = answerMcp(json, 'legacy');
        if (body !== undefined) stream.write(`event: message\ndata: ${JSON.stringify(body)}\n\n`);
        response.writeHead(202).end();
      } else {
        response.writeHead(405).end();
      }
    };
    await connectByLogin(own, 'c', rig.server.mcpUrl);
  });
  afterEach(() => rig.stop());

  const call = (session?: string) => post(echoCall(1, { text: 'hi' }), session, { at: 'c', from: own });

  test('gets a renewed token with a POST, in a session of a caller and without', async () => {
    const opened = await post(hello(), undefined, { at: 'c', from: own });
    const session = opened.headers.get('mcp-session-id') as string;
    expect([(await call()).status, (await call(session)).status]).toEqual([200, 200]);
    const gets = () => rig.server.requestsTo('mcp').filter(({ method }) => method === 'GET').length;
    const before = gets();
    rig.server.book.expireAccessTokens();
    expect([(await call(session)).status, (await call()).status]).toEqual([200, 200]);
    expect(refreshes(rig.server)).toHaveLength(1);
    expect(gets()).toBe(before);
    expect((await stored(own, 'c')).state).toBe('connected');
  });

  test('gets a renewed token with the GET that opens a stream', async () => {
    rig.server.book.expireAccessTokens();
    expect((await call()).status).toBe(200);
    rig.server.book.expireAccessTokens();
    const opened = await post(hello(), undefined, { at: 'c', from: own });
    expect(opened.status).toBe(200);
    expect((await call(opened.headers.get('mcp-session-id') as string)).status).toBe(200);
    expect(refreshes(rig.server)).toHaveLength(2);
  });
});
