import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { echoed, echoRequest, type SseRig, startSseRig } from '../../../test/fixtures/sse-rig.ts';
import { accept, type SseCall } from '../../../test/fixtures/sse-server.ts';
import { until } from '../../../test/fixtures/until.ts';
import type { SessionRequest, UpstreamMessage } from '../legacy-session.ts';
import type { SseSession } from './session.ts';

let rig: SseRig;
beforeEach(async () => {
  rig = await startSseRig();
});
afterEach(() => rig.stop());

const call = (session: SseSession, text?: string, more?: Partial<SessionRequest>) =>
  session.request(echoRequest(text, more));
const only = () => [...rig.server.clients.values()][0] as SseCall['session'];

describe('requests', () => {
  test('have ids of their own, and are answered with results and errors', async () => {
    const session = await rig.open();
    const texts = Array.from({ length: 50 }, (_, index) => `text ${index}`);
    expect(await Promise.all(texts.map((text) => call(session, text)))).toEqual(texts.map(echoed));
    const ids = rig.server.calls.flatMap(({ message }) => (message.id === undefined ? [] : [message.id]));
    expect(new Set(ids).size).toBe(ids.length);
    expect(await call(session, '', { method: 'nonsense' })).toEqual({
      kind: 'error',
      code: -32601,
      message: 'Method not found',
      data: undefined,
    });
  });

  test('reuse their sockets', async () => {
    const session = await rig.open();
    const ports = new Set<number | undefined>();
    rig.server.bend({
      on: ({ response }) => {
        ports.add(response.socket?.remotePort);
        return false;
      },
    });
    for (let turn = 0; turn < 20; turn++) await call(session);
    expect(ports.size).toBeLessThanOrEqual(2);
  });

  test('that share a session and a progress token hear of their own progress only, before their answers', async () => {
    const session = await rig.open();
    const held = rig.hold();
    const heard = Array.from({ length: 10 }, (): UpstreamMessage[] => []);
    const order: string[] = [];
    const answers = heard.map((messages, index) =>
      call(session, '', {
        params: { name: 'echo', _meta: { progressToken: 'mine', other: index }, arguments: { index } },
        onMessage: (message) => {
          messages.push(message);
          order.push(`progress ${index}`);
        },
      }).then((answer) => {
        order.push(`answer ${index}`);
        return answer;
      }),
    );
    await until(() => held.length === 10);
    const tokens = held.map(({ message }) => metaOf(message).progressToken);
    expect(new Set(tokens).size).toBe(10);
    expect(tokens).not.toContain('mine');
    held.reverse();
    for (const progress of [1, 2]) {
      for (const { message, session: client } of held) {
        const { other, progressToken } = metaOf(message);
        const params = { progressToken, progress, total: 2, message: `of ${other}` };
        client.send({ method: 'notifications/progress', params });
      }
    }
    for (const { message, session: client } of held) {
      client.send({ id: message.id, result: { of: metaOf(message).other } });
    }
    expect(await Promise.all(answers)).toEqual(
      heard.map((_, index) => ({ kind: 'result', result: { of: index } })),
    );
    expect(heard).toEqual(
      heard.map((_, index) =>
        [1, 2].map((progress) => ({
          method: 'notifications/progress',
          params: { progressToken: 'mine', progress, total: 2, message: `of ${index}` },
        })),
      ),
    );
    for (const index of heard.keys()) {
      const mine = order.filter((entry) => entry.endsWith(` ${index}`));
      expect(mine).toEqual([`progress ${index}`, `progress ${index}`, `answer ${index}`]);
    }
  });

  test('hear nothing under a token that is not theirs, or after their end', async () => {
    const session = await rig.open();
    const held = rig.hold();
    const heard: UpstreamMessage[] = [];
    const onMessage = (message: UpstreamMessage) => void heard.push(message);
    const withToken = call(session, '', { params: { _meta: { progressToken: 1 } }, onMessage });
    const without = call(session, '', { onMessage });
    await until(() => held.length === 2);
    expect(metaOf(held[1]?.message ?? {})).toEqual({});
    const ids = held.map(({ message }) => message.id);
    for (const progressToken of ['1', 'mine', ids[1], 99, null, { 0: 1 }, undefined]) {
      only().send({ method: 'notifications/progress', params: { progressToken, progress: 1 } });
    }
    for (const id of ids) only().send({ id, result: {} });
    await Promise.all([withToken, without]);
    only().send({ method: 'notifications/progress', params: { progressToken: ids[0], progress: 1 } });
    await call(session, '', { method: 'ping' });
    expect(heard).toEqual([]);
  });

  test('are not answered by answers to others, nor by what is none', async () => {
    const session = await rig.open();
    const held = rig.hold();
    const pending = call(session);
    const { message, session: client } = await until(() => held[0]);
    for (const id of [`${message.id}`, 999, null, undefined, { id: message.id }])
      client.send({ id, result: { wrong: 1 } });
    client.stream.write(`data: ${JSON.stringify({ id: message.id, result: { wrong: 2 } })}\n\n`);
    client.stream.write(
      `event: other\ndata: ${JSON.stringify({ jsonrpc: '2.0', id: message.id, result: {} })}\n\n`,
    );
    client.stream.write('data: 7\n\ndata: null\n\ndata: []\n\ndata:\n\n');
    client.stream.write(
      `data: ${JSON.stringify([{ jsonrpc: '2.0', id: message.id, result: { right: true } }])}\n\n`,
    );
    expect(await pending).toEqual({ kind: 'result', result: { right: true } });
  });

  test('are answered by a stream that comes byte by byte', async () => {
    const session = await rig.open();
    const held = rig.hold();
    const pending = call(session);
    const { message, session: client } = await until(() => held[0]);
    const answer = { jsonrpc: '2.0', id: message.id, result: { text: 'zwölf 🐙' } };
    for (const byte of Buffer.from(`event: message\r\ndata: ${JSON.stringify(answer)}\r\n\r\n`)) {
      await new Promise((written) => client.stream.write(Buffer.of(byte), written));
    }
    expect(await pending).toEqual({ kind: 'result', result: { text: 'zwölf 🐙' } });
  });

  const bodies: [what: string, type: string, body: (id: unknown) => string][] = [
    ['an answer', 'application/json', (id) => JSON.stringify({ jsonrpc: '2.0', id, result: { in: 'body' } })],
    [
      'an event',
      'text/event-stream',
      (id) => `data: ${JSON.stringify({ jsonrpc: '2.0', id, result: { in: 'body' } })}\n\n`,
    ],
  ];
  test.each(bodies)('take %s in the body of the POST', async (_what, type, body) => {
    const session = await rig.open();
    rig.hold(
      ({ message, response }) => void response.writeHead(200, { 'content-type': type }).end(body(message.id)),
    );
    expect(await call(session)).toEqual({ kind: 'result', result: { in: 'body' } });
  });

  test.each([
    ['text', 'text/plain', 'ok'],
    ['other JSON', 'application/json', '{"status":"ok"}'],
    ['no JSON', 'application/json', ''],
    ['an answer to another', 'application/json', '{"jsonrpc":"2.0","id":999,"result":{}}'],
    ['an empty stream', 'text/event-stream', ''],
  ])('wait for the stream when the POST is answered with 200 and %s', async (_what, type, body) => {
    const session = await rig.open();
    const held = rig.hold(({ response }) => void response.writeHead(200, { 'content-type': type }).end(body));
    const pending = call(session);
    const { message, session: client } = await until(() => held[0]);
    client.send({ id: message.id, result: { on: 'stream' } });
    expect(await pending).toEqual({ kind: 'result', result: { on: 'stream' } });
  });

  test('take an answer on the stream while the POST still hangs, and do not hold its socket for ever', async () => {
    const session = await rig.open();
    const closed = Promise.withResolvers<void>();
    rig.hold(({ message, session: client, response }) => {
      response.once('close', closed.resolve);
      client.send({ id: message.id, result: {} });
    });
    expect(await call(session)).toEqual({ kind: 'result', result: {} });
    await closed.promise;
  });

  test('that are given up are cancelled at the server, under the id that it knows', async () => {
    const session = await rig.open();
    const held = rig.hold();
    const caller = new AbortController();
    const pending = call(session, '', { signal: caller.signal });
    const { message } = await until(() => held[0]);
    caller.abort();
    await expect(pending).rejects.toMatchObject({ kind: 'cut_off' });
    const cancelled = await until(() => rig.sent('notifications/cancelled')[0]);
    expect(cancelled.message.params).toMatchObject({ requestId: message.id });
    only().send({ id: message.id, result: {} });
    expect((await call(session, '', { method: 'ping' })).kind).toBe('result');
    await expect(call(session, '', { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
      kind: 'timeout',
    });
  });

  test('are bounded in number', async () => {
    const session = await rig.open({ sseRequests: 3 });
    const held = rig.hold();
    const first = [call(session), call(session), call(session)];
    await until(() => held.length === 3);
    const refusal = await call(session).catch((fault: unknown) => fault);
    expect(refusal).toMatchObject({ kind: 'busy' });
    for (const { message } of held) only().send({ id: message.id, result: {} });
    await Promise.all(first);
    rig.server.bend({});
    expect(await call(session)).toEqual(echoed('hello'));
  });

  test('go with renewed credentials', async () => {
    const session = await rig.open({}, rig.target(['authorization', 'Bearer old']));
    session.retarget(rig.target(['authorization', 'Bearer new']));
    await call(session);
    await session.notify('notifications/roots/list_changed', undefined);
    const [called, notified] = rig.server.received.slice(-2);
    expect(called).toMatchObject({ headers: { authorization: 'Bearer new' } });
    expect(notified).toMatchObject({ headers: { authorization: 'Bearer new' } });
    expect(notified?.message).toEqual({ jsonrpc: '2.0', method: 'notifications/roots/list_changed' });
  });
});

describe('what the server says by itself', () => {
  test('goes nowhere before somebody listens, but its requests are answered', async () => {
    await rig.open();
    only().send({ method: 'notifications/tools/list_changed' });
    only().send({ id: 'p', method: 'ping' });
    only().send({ id: 1, method: 'roots/list' });
    const answered = await until(() => {
      const found = rig.server.calls.filter(({ message }) => message.method === undefined);
      return found.length === 2 ? found : undefined;
    });
    const byId = new Map(answered.map(({ message }) => [message.id, message]));
    expect(byId.get('p')).toEqual({ jsonrpc: '2.0', id: 'p', result: {} });
    expect(byId.get(1)).toEqual({
      jsonrpc: '2.0',
      id: 1,
      error: { code: -32601, message: 'Method not found' },
    });
  });

  test('goes to who listens last, except for pings; and is answered by them', async () => {
    const session = await rig.open();
    const heard: UpstreamMessage[] = [];
    expect(await session.listen(() => expect.unreachable())).toBe(true);
    expect(await session.listen((message) => void heard.push(message))).toBe(true);
    only().send({ method: 'notifications/message', params: { level: 'info', data: 'x' } });
    only().send({ id: 'p', method: 'ping' });
    only().send({ id: 0, method: 'sampling/createMessage', params: { maxTokens: 1 } });
    only().send({ method: 'notifications/resources/list_changed', params: 'odd' });
    await until(() => heard.length === 3);
    expect(heard).toEqual([
      { method: 'notifications/message', params: { level: 'info', data: 'x' } },
      { method: 'sampling/createMessage', params: { maxTokens: 1 }, id: 0 },
      { method: 'notifications/resources/list_changed' },
    ]);
    await session.respond(0, { result: { role: 'assistant' } });
    expect(rig.server.calls.at(-1)?.message).toEqual({
      jsonrpc: '2.0',
      id: 0,
      result: { role: 'assistant' },
    });
  });

  test('is not read on while more answers to it are under way than may be', async () => {
    const session = await rig.open({ sseReplies: 4, discoverMs: 5_000 });
    const waiting: SseCall[] = [];
    let most = 0;
    let open = 0;
    rig.server.bend({
      on: (received) => {
        if (received.message.method !== undefined) return false;
        waiting.push(received);
        most = Math.max(most, ++open);
        return true;
      },
    });
    for (let id = 0; id < 100; id++) only().send({ id, method: 'ping' });
    const pending = call(session);
    for (let answered = 0; answered < 100; answered++) {
      const { response } = await until(() => waiting.shift());
      open--;
      accept(response);
    }
    expect(await pending).toEqual(echoed('hello'));
    // One event may bring the last one over the limit before the next is looked at.
    expect(most).toBeLessThanOrEqual(4);
  });
});

function metaOf(message: Record<string, unknown>): Record<string, unknown> {
  return ((message.params as { _meta?: Record<string, unknown> } | undefined)?._meta ?? {}) as Record<
    string,
    unknown
  >;
}
