import { afterEach, beforeEach, expect, test } from 'vitest';
import { echoed, echoRequest, type SseRig, startSseRig } from '../../test/fixtures/sse-rig.ts';
import { StandingClock } from '../../test/fixtures/standing-clock.ts';
import { until } from '../../test/fixtures/until.ts';
import type { Limits } from '../platform/limits.ts';
import type { OwnSession, OwnSessions } from './link-sessions.ts';
import { createOwnSessions } from './own-sessions.ts';

let rig: SseRig;
let clock: StandingClock;
const made: OwnSessions[] = [];
beforeEach(async () => {
  rig = await startSseRig();
  clock = new StandingClock();
});
afterEach(async () => {
  for (const sessions of made.splice(0)) sessions.close();
  await rig.stop();
});

function make(limits: Partial<Limits> = {}): OwnSessions {
  const sessions = createOwnSessions(...rig.own(limits), clock);
  made.push(sessions);
  return sessions;
}

const client = {
  revision: '2025-06-18',
  capabilities: { sampling: {}, roots: { listChanged: true } },
  clientInfo: { name: 'ada', version: '2' },
};
const never = new AbortController().signal;
const streams = () => rig.server.clients.size;
const opened = (sessions: OwnSessions, uid = 'con_1', version = 1): Promise<OwnSession> =>
  sessions.open(rig.target([], uid, version), client, () => {}, never);

test('each client has its own, is introduced as it is, and says itself that it is ready', async () => {
  const sessions = make();
  const [one, other] = [await opened(sessions), await opened(sessions)];
  expect(streams()).toBe(2);
  const [hello] = rig.sent('initialize');
  expect(hello?.message.params).toEqual({
    protocolVersion: '2025-06-18',
    capabilities: client.capabilities,
    clientInfo: client.clientInfo,
  });
  expect(rig.sent('notifications/initialized')).toEqual([]);
  expect(await one.session.request(echoRequest('one'))).toEqual(echoed('one'));
  expect(await other.session.request(echoRequest('other'))).toEqual(echoed('other'));
});

test('idle ones are closed, those in use are not', async () => {
  const sessions = make({ sseOwnSessionIdleMs: 100_000 });
  const [, busy] = [await opened(sessions), await opened(sessions)];
  const end = busy.begin();
  clock.pass(60_000);
  expect(streams()).toBe(2);
  clock.pass(60_000);
  await until(() => streams() === 1);
  clock.pass(600_000);
  expect(busy.session.ended.aborted).toBe(false);
  end();
  clock.pass(60_000);
  expect(busy.session.ended.aborted).toBe(false);
  clock.pass(60_000);
  await until(() => streams() === 0);
});

test.each([{ sseOwnSessions: 3 }, { sseOwnSessionsPerOrigin: 3 }])(
  'at %o the idle one unused the longest makes way, and none that is in use',
  async (limits) => {
    const sessions = make(limits);
    const first = await opened(sessions);
    first.begin();
    clock.pass(1);
    const second = await opened(sessions);
    for (let n = 0; n < 20; n++) {
      clock.pass(1);
      await opened(sessions);
    }
    await until(() => streams() === 3);
    expect(first.session.ended.aborted).toBe(false);
    expect(second.session.ended.aborted).toBe(true);
  },
);

test('when all are in use, another is refused and not opened', async () => {
  const sessions = make({ sseOwnSessionsPerOrigin: 2 });
  for (const own of [await opened(sessions), await opened(sessions)]) own.begin();
  await expect(opened(sessions)).rejects.toMatchObject({ kind: 'busy' });
  expect(rig.server.opened).toBe(2);
});

test('the end of a connection closes its sessions, older targets alone where told, and openings', async () => {
  const sessions = make();
  for (const [uid, version] of [
    ['con_1', 1],
    ['con_1', 2],
    ['con_2', 1],
  ] as const) {
    await opened(sessions, uid, version);
  }
  sessions.end('con_1', 2);
  await until(() => streams() === 2);
  sessions.end('con_1');
  await until(() => streams() === 1);
  rig.server.bend({ greeting: () => ': never\n\n' });
  const opening = opened(sessions);
  const isCutOff = expect(opening).rejects.toMatchObject({ kind: 'cut_off' });
  await until(() => streams() === 2);
  sessions.end('con_1');
  await isCutOff;
  await until(() => streams() === 1);
});

test('closing closes all, and the timer', async () => {
  const sessions = make();
  await Promise.all([opened(sessions), opened(sessions)]);
  sessions.close();
  await until(() => streams() === 0);
  expect(clock.timers).toEqual([]);
});
