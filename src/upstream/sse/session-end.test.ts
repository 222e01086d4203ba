import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { echoed, echoRequest, type SseRig, startSseRig } from '../../../test/fixtures/sse-rig.ts';
import { accept, type SseCall, type SseOptions } from '../../../test/fixtures/sse-server.ts';
import { until } from '../../../test/fixtures/until.ts';
import { sendJson } from '../../../test/fixtures/upstream.ts';
import { CredentialsRefused } from '../fault.ts';
import { SessionLost, type SessionRequest } from '../legacy-session.ts';
import type { SseSession } from './session.ts';

let rig: SseRig;
beforeEach(async () => {
  rig = await startSseRig();
});
afterEach(() => rig.stop());

const call = (session: SseSession, text?: string, more?: Partial<SessionRequest>) =>
  session.request(echoRequest(text, more));

describe('the end', () => {
  const ends: [what: string, happen: (stream: ServerResponse) => void, kind: string, message: RegExp][] = [
    ['ends', (stream) => void stream.end(), 'cut_off', /ended its event stream/],
    ['breaks', (stream) => void stream.destroy(), 'cut_off', /closed the connection/],
    [
      'brings garbage',
      (stream) => void stream.write('data: {"jsonrpc":\n\n'),
      'wrong_answer',
      /does not parse/,
    ],
    [
      'brings too deep a document',
      (stream) => void stream.write(`data: ${'['.repeat(600)}${']'.repeat(600)}\n\n`),
      'wrong_answer',
      /deeper/,
    ],
    [
      'brings too large an event',
      (stream) => void stream.write(`data: ${'x'.repeat(70_000)}`),
      'wrong_answer',
      /more than/,
    ],
  ];
  test.each(ends)(
    'when the stream %s, calls fail, and later ones were never sent',
    async (_what, happen, kind, message) => {
      const session = await rig.open();
      const held = rig.hold();
      const pending = [call(session), call(session)];
      happen((await until(() => held[1])).session.stream);
      const fault = { kind, message: expect.stringMatching(message) };
      await Promise.all(pending.map((each) => expect(each).rejects.toMatchObject(fault)));
      expect(session.ended.aborted).toBe(true);
      const before = rig.server.received.length;
      await expect(call(session)).rejects.toBeInstanceOf(SessionLost);
      await expect(session.notify('notifications/x', {})).rejects.toBeInstanceOf(SessionLost);
      await expect(session.respond(1, { result: {} })).rejects.toBeInstanceOf(SessionLost);
      await expect(session.listen(() => {})).rejects.toBeInstanceOf(SessionLost);
      expect(rig.server.received).toHaveLength(before);
    },
  );

  test('closing it closes the stream, and ends its calls', async () => {
    const session = await rig.open();
    const held = rig.hold();
    const pending = call(session);
    await until(() => held[0]);
    await Promise.all([session.close(), expect(pending).rejects.toMatchObject({ kind: 'cut_off' })]);
    await session.close();
    expect(session.ended.aborted).toBe(true);
    await until(() => rig.server.clients.size === 0);
    await expect(call(session)).rejects.toBeInstanceOf(SessionLost);
  });

  test.each([404, 400])(
    'a server that answers %i, to a ping too, has lost it; other calls may have run',
    async (status) => {
      const session = await rig.open();
      const held = rig.hold();
      const other = call(session);
      await until(() => held[0]);
      rig.server.bend({
        before: (request, response) => {
          if (request.method === 'POST') response.writeHead(status).end('no such session');
          return request.method === 'POST';
        },
      });
      const [lost, interrupted] = await Promise.all(
        [call(session), other].map((each) => each.catch((fault: unknown) => fault)),
      );
      expect(lost).toBeInstanceOf(SessionLost);
      expect(interrupted).not.toBeInstanceOf(SessionLost);
      expect(interrupted).toMatchObject({ kind: 'cut_off' });
      expect(session.ended.aborted).toBe(true);
      await until(() => rig.server.clients.size === 0);
    },
  );

  test.each([404, 400])('a %i for one call alone says nothing about the session', async (status) => {
    const session = await rig.open();
    rig.hold(({ response }) => void response.writeHead(status).end('odd'));
    await expect(call(session)).rejects.toMatchObject({
      kind: 'wrong_answer',
      message: `upstream answered ${status} at /message`,
    });
    rig.hold(({ message, response }) =>
      sendJson(response, status, { jsonrpc: '2.0', id: message.id, error: { code: -32602, message: 'bad' } }),
    );
    expect(await call(session)).toMatchObject({ kind: 'error', code: -32602 });
    rig.server.bend({});
    expect(await call(session)).toEqual(echoed('hello'));
    expect(rig.server.opened).toBe(1);
  });

  test.each([
    [401, { kind: 'refused_credentials', status: 401, challenge: 'Bearer x' }],
    [403, { kind: 'refused_credentials', status: 403 }],
    [429, { kind: 'busy' }],
    [500, { kind: 'server_error', message: 'upstream answered 500 at /message' }],
    [302, { kind: 'wrong_answer', message: expect.stringMatching(/redirects \(302\)/) }],
  ])('a POST answered with %i fails alone', async (status, fault) => {
    const session = await rig.open();
    rig.hold(({ response }) => {
      response.writeHead(status, { 'www-authenticate': 'Bearer x', location: 'http://127.0.0.1:1/' }).end();
    });
    const refusal = await call(session).catch((error: unknown) => error);
    expect(refusal).toMatchObject(fault);
    if (status === 401) expect(refusal).toBeInstanceOf(CredentialsRefused);
    rig.server.bend({});
    expect(await call(session)).toEqual(echoed('hello'));
  });
});

describe('a stream that brings nothing any more', () => {
  /** Accepts every POST, and says nothing. */
  const silence: SseOptions = {
    on: ({ response }) => {
      accept(response);
      return true;
    },
  };

  test('ends the session once a call has been given up and a ping is not answered', async () => {
    const session = await rig.open({ discoverMs: 300 });
    rig.server.bend(silence);
    await expect(call(session, '', { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
      kind: 'timeout',
    });
    await until(() => session.ended.aborted);
    expect(rig.sent('ping')).toHaveLength(1);
  });

  test('is told to who would send more, and does not cut off a call that may yet be answered', async () => {
    const session = await rig.open({ discoverMs: 300 });
    const held: SseCall[] = [];
    rig.server.bend({
      on: (received) => {
        held.push(received);
        accept(received.response);
        return true;
      },
    });
    const long = call(session);
    const { message, session: client } = await until(() => held[0]);
    await expect(call(session, '', { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
      kind: 'timeout',
    });
    await until(() => session.isSilent);
    expect(session.ended.aborted).toBe(false);
    client.send({ id: message.id, result: {} });
    expect(await long).toEqual({ kind: 'result', result: {} });
    expect(session.isSilent).toBe(false);
  });

  test('ends the session when its last call has been given up', async () => {
    const session = await rig.open({ discoverMs: 300 });
    rig.server.bend(silence);
    const last = new AbortController();
    const long = call(session, '', { signal: last.signal });
    await expect(call(session, '', { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
      kind: 'timeout',
    });
    await until(() => session.isSilent);
    last.abort();
    await expect(long).rejects.toMatchObject({ kind: 'cut_off' });
    await until(() => session.ended.aborted);
  });

  test('is not what a slow call is', async () => {
    const session = await rig.open();
    rig.hold();
    await expect(call(session, '', { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
      kind: 'timeout',
    });
    await until(() => rig.sent('ping').length === 1);
    rig.server.bend({});
    expect(await call(session)).toEqual(echoed('hello'));
    expect(session.isSilent).toBe(false);
    expect(rig.server.opened).toBe(1);
  });
});
