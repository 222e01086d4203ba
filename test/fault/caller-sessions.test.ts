import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/platform/clock.ts';
import { createTestDatabase, type TestDatabase, testsOnPostgres } from '../fixtures/database.ts';
import {
  type Answer,
  connect,
  echoCall,
  expectNoLeak,
  growth,
  jsonContent,
  portOf,
  put,
  read,
  stored,
} from '../fixtures/fault.ts';
import { answerGuardedMcp } from '../fixtures/oauth/faulty-mcp-endpoint.ts';
import { bearerToken } from '../fixtures/oauth/guard.ts';
import { connectByLogin, logInAgain, type OAuthRig, refreshes, setUpOAuth } from '../fixtures/oauth/rig.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { startSessionServer } from '../fixtures/session-server.ts';
import { until } from '../fixtures/until.ts';
import { type Handler, legacyServer, sendJson, startUpstream, type Upstream } from '../fixtures/upstream.ts';

const initializeMessage = {
  jsonrpc: '2.0',
  id: 'first',
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } },
};
const events = { 'content-type': 'text/event-stream' };

const pathOf = (id: string) => `/connect/default/${id}/mcp`;

/** One request to an MCP endpoint, in a session or without. */
async function send(
  pb: TestPatchbay,
  method: 'POST' | 'GET' | 'DELETE',
  { path = pathOf('c'), session, message, ...init }: Sent = {},
): Promise<Answer> {
  return read(await open(pb, method, { path, session, message, ...init }));
}

interface Sent {
  path?: string;
  session?: string | undefined;
  message?: unknown;
  key?: string;
  signal?: AbortSignal;
}

/** The same, before its answer is read. */
function open(
  pb: TestPatchbay,
  method: string,
  { path = pathOf('c'), session, message, ...init }: Sent,
): Promise<Response> {
  return pb.request(path, {
    method,
    ...init,
    ...(message !== undefined && { body: JSON.stringify(message) }),
    headers: {
      ...(message !== undefined && jsonContent),
      ...(session !== undefined && { 'mcp-session-id': session }),
      'mcp-protocol-version': '2025-11-25',
    },
  });
}

async function initialize(pb: TestPatchbay, options: Sent = {}): Promise<string> {
  const { status, headers } = await send(pb, 'POST', { message: initializeMessage, ...options });
  expect(status).toBe(200);
  return headers.get('mcp-session-id') as string;
}

const unknown = { status: 404, json: { error: { code: 40405 } } };
const notAllowed = { status: 405, json: { error: { code: 40501 } } };

/** The session answers. */
async function expectAlive(pb: TestPatchbay, session: string, path = pathOf('c')): Promise<void> {
  const { status, json } = await send(pb, 'POST', { path, session, message: echoCall(7, { n: 1 }) });
  expect({ status, json }).toMatchObject({ status: 200, json: { id: 7, result: { content: [{}] } } });
}

/** The session is none, whatever is asked of it. */
async function expectNone(pb: TestPatchbay, session: string, options: Sent = {}): Promise<void> {
  for (const method of ['POST', 'GET', 'DELETE'] as const) {
    const message = method === 'POST' ? { message: echoCall() } : {};
    const answer = await send(pb, method, { ...options, ...message, session });
    expect({ method, ...answer }).toMatchObject(unknown);
    expectNoLeak(answer.text, pb);
  }
}

/** An upstream with sessions whose GET and DELETE a test may take over. */
interface Bent {
  up: Upstream;
  server: ReturnType<typeof legacyServer>;
  onGet: Handler | undefined;
  onDelete: Handler | undefined;
}

async function startBent(options: Parameters<typeof legacyServer>[0] = {}): Promise<Bent> {
  const server = legacyServer({ sessions: true, ...options });
  const up = await startUpstream((request, response) => {
    const taken = { GET: bent.onGet, DELETE: bent.onDelete }[request.method];
    return (taken ?? server.handler)(request, response);
  });
  const bent: Bent = { up, server, onGet: undefined, onDelete: undefined };
  return bent;
}

let pb: TestPatchbay;
let bent: Bent;
/** What looks at the deadlines of open streams each quarter of a second (`Deadlines`), instead of time. */
const sweeps = new Set<() => void>();
const sweepMs = 250;
const streamKeepAliveMs = 100;
let passedMs = 0;
const clock = {
  ...systemClock,
  elapsed: () => systemClock.elapsed() + passedMs,
  after: (ms: number, run: () => void) => {
    if (ms !== sweepMs) return systemClock.after(ms, run);
    sweeps.add(run);
    return () => void sweeps.delete(run);
  },
};
/** An idle stream's time for a comment comes. */
const passKeepAlive = () => {
  passedMs += streamKeepAliveMs;
  for (const run of [...sweeps]) {
    sweeps.delete(run);
    run();
  }
};
/** Nothing is left that a deadline is kept for. */
const allEnded = () => {
  passKeepAlive();
  return sweeps.size === 0;
};

beforeAll(async () => {
  pb = await startPatchbay({ clock, limits: { streamKeepAliveMs } });
});
afterAll(() => pb?.stop());
beforeEach(async () => {
  bent = await startBent();
  const { status } = await put(pb, 'c', { mcpUrl: bent.up.url });
  // Each test has an upstream of its own, and with it a connection of its own.
  expect(status).toBe(201);
});
afterEach(async () => {
  await pb.request('/connect/default/c', { method: 'DELETE' });
  await bent.up.stop();
});

describe('a session id', () => {
  test.each(['/connect/default/c/mcp', '/mcp/default/c'])('works on %s, as on the other', async (path) => {
    const session = await initialize(pb, { path });
    await expectAlive(pb, session);
    await expectAlive(pb, session, '/mcp/default/c');
    const [upstreamId] = [...bent.server.sessions].slice(-1);
    expect(session).not.toContain(upstreamId);
    expect(bent.up.received.at(-1)?.headers['mcp-session-id']).toBe(upstreamId);
  });

  test('of one connection is none on another, even to the same upstream', async () => {
    await connect(pb, 'b', bent.up.url);
    const session = await initialize(pb);
    await expectNone(pb, session, { path: pathOf('b') });
    await expectAlive(pb, session);
    await pb.request('/connect/default/b', { method: 'DELETE' });
  });

  test('of one organization is none for another', async () => {
    const name = `other-${randomUUID().slice(0, 8)}`;
    const { key } = await pb.store.otherOrganization(name);
    const made = await pb.request(`/connect/${name}/c`, {
      method: 'PUT',
      key,
      json: { mcpUrl: bent.up.url },
    });
    expect(made.status).toBe(201);
    const session = await initialize(pb);
    await expectNone(pb, session, { path: `/connect/${name}/c/mcp`, key });
    // On the connection itself that one learns no more than that the namespace is not there.
    const { status, json } = await send(pb, 'POST', { key, session, message: echoCall() });
    expect({ status, json }).toMatchObject({ status: 404, json: { error: { code: 40402 } } });
    await expectAlive(pb, session);
  });

  test('of the upstream itself is none', async () => {
    await initialize(pb);
    for (const upstreamId of bent.server.sessions) await expectNone(pb, upstreamId);
  });

  test.each([
    ['a word', 'garbage'],
    ['a UUID', randomUUID()],
    ['base64 of the right format byte', Buffer.from([1, ...Buffer.alloc(80)]).toString('base64url')],
    ['10 kB', 'A'.repeat(10_000)],
    ['punctuation', '../../etc/passwd?a=b&c={}[]"\'<>'],
    ['two ids', 'one, two'],
    ['bytes beyond ASCII', '\u00ff\u00fe'],
  ])('that we never gave is none: %s', async (_what, session) => {
    const before = bent.up.received.length;
    await expectNone(pb, session);
    expect(bent.up.received.length).toBe(before);
  });

  test('is none in any other spelling, also once it was ended', async () => {
    const session = await initialize(pb);
    for (const other of [`${session}=`, `${session}A`, session.slice(0, -1)]) await expectNone(pb, other);
    expect((await send(pb, 'DELETE', { session })).status).toBe(204);
    for (const other of [session, `${session}=`, `${session}==`]) await expectNone(pb, other);
  });

  test('of older credentials is none', async () => {
    const session = await initialize(pb);
    expect((await put(pb, 'c', { mcpUrl: bent.up.url, headers: { 'x-key': 'new' } })).status).toBe(200);
    await expectNone(pb, session);
  });

  test('is not told to a caller that wants no session', async () => {
    const answer = await send(pb, 'POST', { session: 'smithery-stateless', message: initializeMessage });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('mcp-session-id')).toBeNull();
  });
});

describe('a request without a session', () => {
  test.each([undefined, 'smithery-stateless'])(
    'is refused as GET and DELETE, session id %s',
    async (session) => {
      for (const path of [pathOf('c'), '/mcp/default/c']) {
        for (const method of ['GET', 'DELETE'] as const) {
          const answer = await send(pb, method, { path, session });
          expect(answer).toMatchObject(notAllowed);
          expect(answer.headers.get('allow')).toBe('POST');
        }
      }
    },
  );

  test.each([
    ['a result', { jsonrpc: '2.0', id: 1, result: {} }],
    ['an error', { jsonrpc: '2.0', id: 1, error: { code: 1, message: 'no' } }],
    ['a batch', [{ jsonrpc: '2.0', id: 1, method: 'ping' }]],
  ])('is refused as %s', async (_what, message) => {
    const before = bent.up.received.length;
    for (const session of [undefined, 'smithery-stateless']) {
      const { status, json } = await send(pb, 'POST', { session, message });
      expect({ status, json }).toMatchObject({ status: 400, json: { error: { code: -32600 } } });
    }
    expect(bent.up.received.length).toBe(before);
  });

  test('is refused as a batch in a session, too', async () => {
    const session = await initialize(pb);
    const message = [{ jsonrpc: '2.0', id: 1, method: 'ping' }];
    expect((await send(pb, 'POST', { session, message })).status).toBe(400);
  });
});

describe('the end of a session', () => {
  test('is told to the upstream, and holds although that answers 200', async () => {
    const session = await initialize(pb);
    const [upstreamId] = [...bent.server.sessions].slice(-1);
    const answer = await send(pb, 'DELETE', { session });
    expect({ status: answer.status, text: answer.text }).toEqual({ status: 204, text: '' });
    expect(bent.up.received.at(-1)).toMatchObject({
      method: 'DELETE',
      headers: { 'mcp-session-id': upstreamId, 'mcp-protocol-version': '2025-11-25' },
    });
    // Even if the upstream still knew it.
    bent.server.sessions.add(upstreamId as string);
    await expectNone(pb, session);
  });

  test('is refused where the upstream refuses it, and the session lives', async () => {
    bent.onDelete = (_request, response) => void response.writeHead(405).end();
    const session = await initialize(pb);
    const answer = await send(pb, 'DELETE', { session });
    expect(answer).toMatchObject(notAllowed);
    expect(answer.headers.get('allow')).toBe('GET, POST');
    await expectAlive(pb, session);
  });

  test.each<[string, Handler]>([
    ['fails', (_request, response) => void response.writeHead(500).end()],
    ['has lost it', (_request, response) => void response.writeHead(404).end()],
    ['breaks off', (_request, response) => void response.destroy()],
    ['says nothing', () => {}],
  ])('holds here where the upstream %s', async (_what, handler) => {
    bent.onDelete = handler;
    const session = await initialize(pb);
    expect((await send(pb, 'DELETE', { session })).status).toBe(204);
    await expectNone(pb, session);
    expect(await stored(pb, 'c')).toEqual({ state: 'connected' });
  });

  test('follows the upstream to where it has gone', async () => {
    bent.onDelete = (request, response) => {
      if (request.path === '/mcp') response.writeHead(307, { location: '/mcp/' }).end();
      else return bent.server.handler(request, response);
    };
    const session = await initialize(pb);
    const open = bent.server.sessions.size;
    expect((await send(pb, 'DELETE', { session })).status).toBe(204);
    expect(bent.server.sessions.size).toBe(open - 1);
  });

  test('is remembered after a restart', async () => {
    const [ended, other] = [await initialize(pb), await initialize(pb)];
    expect((await send(pb, 'DELETE', { session: ended })).status).toBe(204);
    await pb.restart();
    await expectNone(pb, ended);
    await expectAlive(pb, other);
  });
});

// What one SQLite file allows is one process.
describe.runIf(testsOnPostgres)('two processes on one PostgreSQL', () => {
  let database: TestDatabase;
  const pbs: TestPatchbay[] = [];
  beforeEach(async () => {
    database = await createTestDatabase(pb.dataDir);
    const env = { PATCHBAY_API_KEY: 'one-key-for-both-processes' };
    for (let i = 0; i < 2; i++) pbs.push(await startPatchbay({ database, env }));
  });
  afterEach(async () => {
    for (const one of pbs.splice(0)) await one.stop();
    await database.drop();
  });

  test('serve each other’s sessions, and know which were ended', async () => {
    const [one, other] = pbs as [TestPatchbay, TestPatchbay];
    await connect(one, 'c', bent.up.url);
    const session = await initialize(one);
    await expectAlive(other, session);
    expect((await send(other, 'DELETE', { session })).status).toBe(204);
    await expectNone(other, session);
    await until(async () => (await send(one, 'POST', { session, message: echoCall() })).status === 404);
    await expectNone(one, session);
  });
});

describe('an upstream that has lost a session', () => {
  test('is passed on as 404 for POST and GET, and tells nothing against the connection', async () => {
    const session = await initialize(pb);
    bent.server.sessions.clear();
    bent.onGet = (_request, response) => void response.writeHead(404).end();
    const { status, json } = await send(pb, 'POST', { session, message: echoCall(3) });
    // The upstream's own words.
    expect({ status, json }).toMatchObject({ status: 404, json: { error: { code: -32001 } } });
    expect(await send(pb, 'GET', { session })).toMatchObject(unknown);
    expect(await stored(pb, 'c')).toEqual({ state: 'connected' });
    await expectAlive(pb, await initialize(pb));
  });

  test('says so without JSON-RPC, and the caller still gets it in that form', async () => {
    const session = await initialize(pb);
    bent.up.handle((_request, response) => void response.writeHead(404).end('gone'));
    const answer = await send(pb, 'POST', { session, message: echoCall(3) });
    expect(answer).toMatchObject({ ...unknown, json: { id: 3 } });
    expect(await stored(pb, 'c')).toEqual({ state: 'connected' });
  });

  test('costs an SDK client no more than to connect again', async () => {
    const server = await startSessionServer();
    await connect(pb, 'sdk', server.url);
    const connectClient = async () => {
      const client = new Client({ name: 'c', version: '1' });
      const headers = { authorization: `Bearer ${pb.key}` };
      const url = new URL(`${pb.url}${pathOf('sdk')}`);
      await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers } }));
      return client;
    };
    const call = { name: 'echo', arguments: { text: 'hi' } };
    const client = await connectClient();
    await client.callTool(call);
    server.forget();
    await expect(client.callTool(call)).rejects.toThrow(/404|[Ss]ession/);
    await client.close();
    const again = await connectClient();
    expect(await again.callTool(call)).toMatchObject({ content: [{ text: 'hi' }] });
    await again.close();
    await server.stop();
  });
});

test('two sessions with equal request ids, slow and interleaved, get their own answers', async () => {
  const waiting: { own: string; answer: () => void }[] = [];
  const slow = legacyServer({
    sessions: true,
    call: (_name, args, request) =>
      new Promise((resolve) => {
        const own = `${args.who} in ${request.headers['mcp-session-id']}`;
        waiting.push({ own, answer: () => resolve({ content: [{ type: 'text', text: own }] }) });
      }),
  });
  bent.up.handle(slow.handler);
  const sessions: string[] = [];
  const upstreamIds: string[] = [];
  for (let i = 0; i < 2; i++) {
    sessions.push(await initialize(pb));
    upstreamIds.push([...slow.sessions].at(-1) as string);
  }
  const calls = Array.from({ length: 20 }, (_, i) => {
    const message = echoCall(Math.floor(i / 2), { who: `call ${i}` });
    return send(pb, 'POST', { session: sessions[i % 2], message });
  });
  await until(() => waiting.length === calls.length);
  // Backwards, one by one.
  for (const { answer } of waiting.reverse()) {
    answer();
    await new Promise(setImmediate);
  }
  for (const [i, { status, json }] of (await Promise.all(calls)).entries()) {
    expect({ status, json }).toMatchObject({
      status: 200,
      json: {
        id: Math.floor(i / 2),
        result: { content: [{ text: `call ${i} in ${upstreamIds[i % 2]}` }] },
      },
    });
  }
});

describe('the stream of a session', () => {
  /** The upstream's side of the stream that a test opened last. */
  let stream: ServerResponse;
  let asked: IncomingMessage['headers'];
  beforeEach(() => {
    bent.onGet = ({ headers }, response) => {
      stream = response;
      asked = headers;
      response.writeHead(200, events).flushHeaders();
    };
  });

  /** The caller's side: a reader that takes what comes when it is asked to. */
  async function openStream(session: string) {
    const stop = new AbortController();
    const response = await open(pb, 'GET', { session, signal: stop.signal });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    const decoder = new TextDecoder();
    let got = '';
    return {
      leave: () => stop.abort(),
      /** Reads on until `text` has come; false at an orderly end. Throws where the stream is cut. */
      reads: async (text: string): Promise<boolean> => {
        while (!got.includes(text)) {
          const { done, value } = await reader.read();
          if (done) return false;
          got += decoder.decode(value, { stream: true });
        }
        return true;
      },
      got: () => got,
    };
  }

  test('is the upstream’s, byte by byte', async () => {
    const session = await initialize(pb);
    const caller = await openStream(session);
    const text =
      'id: 1\r\nevent: message\ndata: {"jsonrpc":"2.0",\ndata: "method":"x"}\n\n: a comment\nretry: 5\n\n';
    for (const byte of text) stream.write(byte);
    stream.end('data: last\n\n');
    expect(await caller.reads('never')).toBe(false);
    expect(caller.got()).toBe(`${text}data: last\n\n`);
    expect(asked['mcp-session-id']).toBe([...bent.server.sessions].at(-1));
    expect(asked.accept).toBe('text/event-stream');
  });

  test('is asked for with the Last-Event-ID of the caller', async () => {
    const session = await initialize(pb);
    const stop = new AbortController();
    await pb.request(pathOf('c'), {
      headers: { 'mcp-session-id': session, 'last-event-id': 'event/7', accept: 'text/event-stream' },
      signal: stop.signal,
    });
    expect(asked['last-event-id']).toBe('event/7');
    expect(asked.authorization).toBeUndefined();
    stop.abort();
  });

  test('is refused where the upstream has none', async () => {
    bent.onGet = undefined;
    const session = await initialize(pb);
    const answer = await send(pb, 'GET', { session });
    expect(answer).toMatchObject(notAllowed);
    expect(answer.headers.get('allow')).toBe('POST, DELETE');
    await expectAlive(pb, session);
  });

  test.each<[string, Handler, number]>([
    ['400', (_request, response) => sendJson(response, 400, { error: 'no' }), 400],
    ['409, as for a second stream', (_request, response) => sendJson(response, 409, { error: 'one' }), 400],
    ['406', (_request, response) => void response.writeHead(406).end(), 400],
    [
      'a page',
      (_request, response) => void response.writeHead(200, { 'content-type': 'text/html' }).end(),
      502,
    ],
    [
      'a redirect elsewhere',
      (_request, response) => void response.writeHead(302, { location: '/' }).end(),
      502,
    ],
  ])('tells nothing against the connection where the upstream answers %s', async (_what, handler, status) => {
    bent.onGet = handler;
    const session = await initialize(pb);
    const answer = await send(pb, 'GET', { session });
    expect(answer.status).toBe(status);
    expectNoLeak(answer.text, pb);
    await expectAlive(pb, session);
    expect(await stored(pb, 'c')).toEqual({ state: 'connected' });
  });

  test('follows the upstream to where it has gone', async () => {
    const direct = bent.onGet as Handler;
    bent.onGet = (request, response) => {
      if (request.path === '/mcp') response.writeHead(308, { location: '/mcp/?here' }).end();
      else return direct(request, response);
    };
    const caller = await openStream(await initialize(pb));
    stream.write('data: found\n\n');
    expect(await caller.reads('data: found\n\n')).toBe(true);
    caller.leave();
  });

  test('survives idle time by comments, which never stand within an event', async () => {
    const caller = await openStream(await initialize(pb));
    for (let i = 1; i <= 3; i++) {
      passKeepAlive();
      expect(await caller.reads(': keep-alive\n\n'.repeat(i))).toBe(true);
    }
    for (const part of ['data: hal', 'f\n', 'data: more\n']) {
      stream.write(part);
      expect(await caller.reads(part)).toBe(true);
      passKeepAlive();
    }
    stream.write('\n');
    expect(await caller.reads('data: half\ndata: more\n\n')).toBe(true);
    passKeepAlive();
    expect(await caller.reads('data: half\ndata: more\n\n: keep-alive\n\n')).toBe(true);
    caller.leave();
    await until(allEnded);
  });

  test('ends at the upstream when its caller goes away', async () => {
    const caller = await openStream(await initialize(pb));
    const closed = once(stream, 'close');
    caller.leave();
    await closed;
    expect(stream.writableFinished).toBe(false);
    await until(allEnded);
    expect(await stored(pb, 'c')).toEqual({ state: 'connected' });
  });

  test('ends at the upstream when its caller goes away before the answer', async () => {
    const arrived = Promise.withResolvers<ServerResponse>();
    bent.onGet = (_request, response) => arrived.resolve(response);
    const stop = new AbortController();
    const session = await initialize(pb);
    const pending = open(pb, 'GET', { session, signal: stop.signal });
    pending.catch(() => {});
    const closed = once(await arrived.promise, 'close');
    stop.abort();
    await closed;
  });

  test('that breaks is cut off, so that its caller resumes it', async () => {
    const caller = await openStream(await initialize(pb));
    stream.write('id: 1\ndata: one\n\n');
    expect(await caller.reads('one\n\n')).toBe(true);
    stream.destroy();
    await expect(caller.reads('never')).rejects.toThrow();
    expect(caller.got()).toBe('id: 1\ndata: one\n\n');
  });

  test('that its reader takes slowly waits at the upstream', async () => {
    const chunk = Buffer.from(`data: ${'x'.repeat(64 * 1024 - 8)}\n\n`);
    const total = 128 * 1024 * 1024;
    let written = 0;
    bent.onGet = async (_request, response) => {
      response.writeHead(200, events);
      const closed = once(response, 'close');
      while (written < total && !response.destroyed) {
        written += chunk.length;
        if (!response.write(chunk)) await Promise.race([once(response, 'drain'), closed]);
      }
      response.end();
    };
    const session = await initialize(pb);
    const request = httpRequest(`${pb.url}${pathOf('c')}`, {
      headers: { authorization: `Bearer ${pb.key}`, 'mcp-session-id': session },
    }).end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    let calm = 0;
    let last = 0;
    const grown = await growth(async () => {
      await until(() => {
        calm = written > 0 && written === last ? calm + 1 : 0;
        last = written;
        return calm > 20;
      }, 20_000);
      // An idle stream's comment must not pile up behind what waits either.
      for (let i = 0; i < 1_000; i++) passKeepAlive();
    });
    // The sockets' buffers on both hops hold some.
    expect(written).toBeLessThan(total / 4);
    expect(grown).toBeLessThan(64);
    let read = 0;
    response.on('data', (bytes: Buffer) => {
      read += bytes.length;
    });
    await once(response, 'end');
    expect(read).toBe(total);
  });
});

test('sessions that nobody ends leave nothing behind', async () => {
  const tables = async () => {
    const count = async (table: 'ended_sessions' | 'connections' | 'grants') =>
      (
        await pb.store.db
          .selectFrom(table)
          .select(({ fn }) => fn.countAll().as('n'))
          .execute()
      ).map(({ n }) => Number(n));
    return [await count('ended_sessions'), await count('connections'), await count('grants')];
  };
  await initialize(pb);
  const before = await tables();
  const ids = new Set<string>();
  const grown = await growth(async () => {
    for (let round = 0; round < 20; round++) {
      const opened = await Promise.all(Array.from({ length: 50 }, () => initialize(pb)));
      for (const id of opened) ids.add(id);
    }
  });
  expect(ids.size).toBe(1_000);
  expect(await tables()).toEqual(before);
  await until(allEnded);
  expect(grown).toBeLessThan(96);
  // None of them was taken into the pool, which would end them at the stop.
  const stopped = await startPatchbay();
  await connect(stopped, 'c', bent.up.url);
  for (let i = 0; i < 10; i++) await initialize(stopped);
  const deletes = () => bent.up.received.filter(({ method }) => method === 'DELETE').length;
  const deleted = deletes();
  await stopped.stop();
  expect(deletes() - deleted).toBeLessThanOrEqual(1);
});

describe('a session of a connection that is logged in', () => {
  let rig: OAuthRig;
  let own: TestPatchbay;
  let upstreamSessions: Set<string>;
  beforeEach(async () => {
    rig = await setUpOAuth();
    own = await rig.start();
    upstreamSessions = new Set();
    rig.server.behaviour.faults.mcp = (response) => {
      const request = rig.server.requestsTo('mcp').at(-1);
      if (!request) throw new Error('a fault without a request');
      const { method, headers, json } = request;
      const token = bearerToken(headers);
      if (token !== undefined && rig.server.behaviour.mcp.grantOf(token)) {
        const id = headers['mcp-session-id'] as string | undefined;
        if (json?.method === 'initialize') {
          const opened = randomUUID();
          upstreamSessions.add(opened);
          response.setHeader('mcp-session-id', opened);
        } else if (id !== undefined && !upstreamSessions.has(id)) {
          response.writeHead(404).end();
          return;
        } else if (method === 'GET') {
          response.writeHead(200, events).write(`data: for ${id}\n\n`);
          return;
        }
      }
      answerGuardedMcp(request, response, rig.server.behaviour.mcp, rig.server.mcpUrl);
    };
    await connectByLogin(own, 'c', rig.server.mcpUrl);
  });
  afterEach(() => rig.stop());

  const lastId = () => rig.server.requestsTo('mcp').at(-1)?.headers['mcp-session-id'];

  test('goes on with a token that was renewed in the middle of it', async () => {
    const session = await initialize(own);
    await expectAlive(own, session);
    const upstreamId = lastId();
    rig.server.book.expireAccessTokens();
    await expectAlive(own, session);
    expect(refreshes(rig.server)).toHaveLength(1);
    expect(lastId()).toBe(upstreamId);
  });

  test('opens its stream with a token that was renewed for it', async () => {
    const session = await initialize(own);
    await expectAlive(own, session);
    const upstreamId = lastId();
    rig.server.book.expireAccessTokens();
    const stop = new AbortController();
    const response = await open(own, 'GET', { session, signal: stop.signal });
    expect(response.status).toBe(200);
    const { value } = await (response.body as ReadableStream<Uint8Array>).getReader().read();
    expect(Buffer.from(value ?? []).toString()).toBe(`data: for ${upstreamId}\n\n`);
    expect(refreshes(rig.server)).toHaveLength(1);
    stop.abort();
  });

  test('opens no stream for a caller that left while its token was renewed', async () => {
    const session = await initialize(own);
    const renewed = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    rig.server.book.expireAccessTokens();
    rig.server.behaviour.token.afterGrant = async () => {
      asked.resolve();
      await renewed.promise;
    };
    const port = portOf(own);
    const headers = { authorization: `Bearer ${own.key}`, 'mcp-session-id': session };
    const request = httpRequest({ host: '127.0.0.1', port, path: pathOf('c'), headers });
    request.on('error', () => {});
    request.end();
    await asked.promise;
    request.destroy();
    // Seen by the server, too, before the renewal is done.
    await until(
      () =>
        new Promise<boolean>((resolve) => {
          own.patchbay.app.server.getConnections((_error, count) => resolve(count === 0));
          own.patchbay.app.server.closeIdleConnections();
        }),
    );
    const gets = () => rig.server.requestsTo('mcp').filter(({ method }) => method === 'GET').length;
    const before = gets();
    renewed.resolve();
    // A call that waits for the same renewal, and is served after it.
    await expectAlive(own, session);
    expect(gets()).toBe(before);
  });

  test('is none after another login', async () => {
    const session = await initialize(own);
    await expectAlive(own, session);
    await logInAgain(own, 'c');
    await expectNone(own, session);
    await expectAlive(own, await initialize(own));
  });

  test('is told to log in once the grant has ended, as all are', async () => {
    const session = await initialize(own);
    rig.server.book.revokeAllGrants();
    for (const method of ['POST', 'GET'] as const) {
      const message = method === 'POST' ? { message: echoCall() } : {};
      const { status, json } = await send(own, method, { session, ...message });
      expect({ status, json }).toMatchObject({ status: 401, json: { error: { code: -32001 } } });
    }
  });
});
