import { afterEach, beforeEach, expect, test } from 'vitest';
import { echoed, echoRequest, type SseRig, startSseRig } from '../../../test/fixtures/sse-rig.ts';
import { accept, type SseCall } from '../../../test/fixtures/sse-server.ts';
import { StandingClock } from '../../../test/fixtures/standing-clock.ts';
import { until } from '../../../test/fixtures/until.ts';
import type { Limits } from '../../platform/limits.ts';
import { CredentialsRefused } from '../fault.ts';
import type { LinkSessions } from '../link-sessions.ts';
import { createOwnSessions } from '../own-sessions.ts';
import { createSsePool } from './pool.ts';

let rig: SseRig;
let clock: StandingClock;
const pools: LinkSessions[] = [];
beforeEach(async () => {
  rig = await startSseRig();
  clock = new StandingClock();
});
afterEach(async () => {
  for (const pool of pools.splice(0)) pool.close();
  await rig.stop();
});

function makePool(limits: Partial<Limits> = {}): LinkSessions {
  const pool = createSsePool(rig.transport(limits), clock, createOwnSessions(...rig.own(limits), clock));
  pools.push(pool);
  return pool;
}

const open = () => rig.server.clients.size;

test('calls that come at once share one session, and later ones use it', async () => {
  const pool = makePool();
  const target = rig.target();
  const texts = Array.from({ length: 10 }, (_, index) => `${index}`);
  const answers = await Promise.all(texts.map((text) => pool.request(target, echoRequest(text))));
  expect(answers).toEqual(texts.map(echoed));
  expect(await pool.request(target, echoRequest())).toEqual(echoed());
  expect(rig.server.opened).toBe(1);
});

test('connections, and versions of their targets, share none', async () => {
  const pool = makePool();
  for (const target of [rig.target(), rig.target([], 'con_2'), rig.target([], 'con_1', 2)]) {
    await pool.request(target, echoRequest());
  }
  expect(rig.server.opened).toBe(3);
});

test('an opening that fails fails who waits for it, and the next call opens again', async () => {
  const pool = makePool();
  rig.server.bend({
    before: (_request, response) => {
      response.writeHead(503).end();
      return true;
    },
  });
  const refused = [1, 2].map(() => pool.request(rig.target(), echoRequest()));
  await Promise.all(refused.map((each) => expect(each).rejects.toMatchObject({ kind: 'server_error' })));
  expect(rig.server.received).toHaveLength(1);
  rig.server.bend({});
  expect(await pool.request(rig.target(), echoRequest())).toEqual(echoed());
});

test('a caller waits for an opening only as long as it likes, and the others get it', async () => {
  const pool = makePool();
  const held: SseCall[] = [];
  rig.server.bend({ on: (call) => call.message.method === 'initialize' && held.push(call) > 0 });
  const hasty = pool.request(rig.target(), echoRequest('', { signal: AbortSignal.timeout(50) }));
  const patient = pool.request(rig.target(), echoRequest());
  await expect(hasty).rejects.toMatchObject({ kind: 'timeout' });
  const { session, message, response } = await until(() => held[0]);
  rig.server.bend({});
  session.send({ id: message.id, result: { protocolVersion: '2024-11-05', capabilities: {} } });
  accept(response);
  expect(await patient).toEqual(echoed());
  expect(rig.server.opened).toBe(1);
});

test('after a stream has ended the next call opens another', async () => {
  const pool = makePool();
  await pool.request(rig.target(), echoRequest());
  for (const { stream } of rig.server.clients.values()) stream.end();
  await until(() => open() === 0);
  expect(await pool.request(rig.target(), echoRequest())).toEqual(echoed());
  expect(rig.server.opened).toBe(2);
});

test('a session that the server has lost is opened again, once, and the call repeated', async () => {
  const pool = makePool();
  await pool.request(rig.target(), echoRequest());
  rig.server.clients.clear();
  expect(await pool.request(rig.target(), echoRequest())).toEqual(echoed());
  expect(rig.server.opened).toBe(2);

  // Now it loses every session at once.
  rig.server.bend({
    before: (request, response) => {
      const isMeant = /tools|ping/.test(request.body);
      if (isMeant) response.writeHead(404).end();
      return isMeant;
    },
  });
  await expect(pool.request(rig.target(), echoRequest())).rejects.toMatchObject({
    message: 'upstream lost the session',
  });
  expect(rig.server.opened).toBe(3);
});

test('a call that may have run is not repeated', async () => {
  const pool = makePool();
  const held = rig.hold(({ session }) => void session.stream.end());
  await expect(pool.request(rig.target(), echoRequest())).rejects.toMatchObject({ kind: 'cut_off' });
  expect(held).toHaveLength(1);
});

test('a session goes on with a renewed token; one that knows its first token only is opened again', async () => {
  const pool = makePool();
  const [old, renewed] = [rig.target(['authorization', 'old']), rig.target(['authorization', 'new'])];
  await pool.request(old, echoRequest());
  await pool.request(renewed, echoRequest());
  expect(rig.server.opened).toBe(1);
  expect(rig.sent('tools/call').map(({ request }) => request.headers.authorization)).toEqual(['old', 'new']);

  const tokens = new Map([...rig.server.clients.keys()].map((id) => [id, 'old']));
  rig.server.bend({
    on: ({ session, request, response }) => {
      const isFine = (tokens.get(session.id) ?? 'new') === request.headers.authorization;
      if (!isFine) response.writeHead(401).end();
      return !isFine;
    },
  });
  expect(await pool.request(renewed, echoRequest())).toEqual(echoed());
  expect(rig.server.opened).toBe(2);
  await until(() => open() === 1);
  // The same token again is refused once.
  const before = rig.server.received.length;
  await expect(pool.request(old, echoRequest())).rejects.toBeInstanceOf(CredentialsRefused);
  expect(rig.server.received.length).toBeLessThanOrEqual(before + 5);
});

test('a session on which nothing comes any more takes no more calls', async () => {
  const pool = makePool({ discoverMs: 300 });
  await pool.request(rig.target(), echoRequest());
  const [mute] = rig.server.clients.keys();
  rig.server.bend({
    on: ({ session, response }) => {
      if (session.id !== mute) return false;
      accept(response);
      return true;
    },
  });
  const long = new AbortController();
  const stuck = pool.request(rig.target(), echoRequest('', { signal: long.signal }));
  const isCutOff = expect(stuck).rejects.toMatchObject({ kind: 'cut_off' });
  const short = () => pool.request(rig.target(), echoRequest('', { signal: AbortSignal.timeout(50) }));
  await expect(short()).rejects.toMatchObject({ kind: 'timeout' });
  await until(async () => {
    await short().catch(() => {});
    return rig.server.opened === 2;
  });
  expect(await pool.request(rig.target(), echoRequest())).toEqual(echoed());
  expect(open()).toBe(2);
  long.abort();
  await isCutOff;
  await until(() => open() === 1);
});

test('idle sessions are closed, those in use are not', async () => {
  const pool = makePool({ sseSessionIdleMs: 100_000 });
  await pool.request(rig.target([], 'idle'), echoRequest());
  const held = rig.hold();
  const busy = pool.request(rig.target([], 'busy'), echoRequest());
  const { session, message } = await until(() => held[0]);
  clock.pass(60_000);
  expect(open()).toBe(2);
  clock.pass(60_000);
  await until(() => open() === 1);
  session.send({ id: message.id, result: {} });
  await busy;
  clock.pass(60_000);
  expect(open()).toBe(1);
  clock.pass(60_000);
  await until(() => open() === 0);
});

test.each([{ sseSessions: 2 }, { sseSessionsPerOrigin: 2 }])(
  'at %o the idle session unused the longest makes way, and no session that is in use',
  async (limits) => {
    const pool = makePool(limits);
    for (const uid of ['a', 'b', 'a', 'c']) {
      clock.pass(1);
      await pool.request(rig.target([], uid), echoRequest());
    }
    await until(() => open() === 2);
    const opened = rig.server.opened;
    await pool.request(rig.target([], 'a'), echoRequest());
    await pool.request(rig.target([], 'c'), echoRequest());
    expect(rig.server.opened).toBe(opened);

    const held = rig.hold();
    const calls = ['a', 'c'].map((uid) => pool.request(rig.target([], uid), echoRequest()));
    await until(() => held.length === 2);
    const refusal = await pool.request(rig.target([], 'd'), echoRequest()).catch((fault: unknown) => fault);
    expect(refusal).toMatchObject({ kind: 'busy' });
    for (const { session, message } of held) session.send({ id: message.id, result: {} });
    await Promise.all(calls);
    rig.server.bend({});
    expect(await pool.request(rig.target([], 'd'), echoRequest())).toEqual(echoed());
    await until(() => open() === 2);
  },
);

test('many first calls at once open no more sessions than may be', async () => {
  const pool = makePool({ sseSessionsPerOrigin: 3 });
  const calls = Array.from({ length: 10 }, (_, index) =>
    pool.request(rig.target([], `${index}`), echoRequest()),
  );
  const outcomes = await Promise.allSettled(calls);
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
  expect(rig.server.opened).toBe(3);
});

test('the end of a connection closes its sessions, older targets alone where told, and openings', async () => {
  const pool = makePool();
  const targets = [rig.target(), rig.target([], 'con_1', 2), rig.target([], 'con_2')];
  for (const target of targets) await pool.request(target, echoRequest());
  pool.end('con_1', 2);
  await until(() => open() === 2);
  pool.end('con_1');
  await until(() => open() === 1);
  rig.server.bend({ greeting: () => ': never\n\n' });
  const opening = pool.request(rig.target(), echoRequest());
  await until(() => rig.server.opened === 4);
  pool.end('con_1');
  await expect(opening).rejects.toMatchObject({ kind: 'cut_off' });
  await until(() => open() === 1);
});

test('a connection that is forgotten keeps its sessions until their calls have ended', async () => {
  const pool = makePool();
  const held = rig.hold();
  const pending = pool.request(rig.target(), echoRequest());
  const { session, message } = await until(() => held[0]);
  pool.forget('con_1');
  rig.server.bend({});
  expect(await pool.request(rig.target(), echoRequest())).toEqual(echoed());
  expect(open()).toBe(2);
  session.send({ id: message.id, result: {} });
  expect(await pending).toEqual({ kind: 'result', result: {} });
  await until(() => open() === 1);
});

test('closing the pool closes all, and its timer', async () => {
  const pool = makePool();
  for (const uid of ['a', 'b']) await pool.request(rig.target([], uid), echoRequest());
  pool.close();
  await until(() => open() === 0);
  expect(clock.timers).toEqual([]);
});
