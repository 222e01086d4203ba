import { afterEach, beforeEach, expect, test } from 'vitest';
import { echoed, echoRequest, type SseRig, startSseRig } from '../../test/fixtures/sse-rig.ts';
import { StandingClock } from '../../test/fixtures/standing-clock.ts';
import { until } from '../../test/fixtures/until.ts';
import { ChangeFeed } from './change-feed.ts';
import type { UpstreamMessage } from './legacy-session.ts';
import { createSessionLeases, type SessionLeases } from './session-leases.ts';
import { LocalBus } from './uplink/bus.ts';

let rig: SseRig;
let leases: SessionLeases;
beforeEach(async () => {
  rig = await startSseRig();
  leases = createSessionLeases(
    rig.transport(),
    new StandingClock(),
    new ChangeFeed(),
    new LocalBus('proc_1'),
  );
});
afterEach(async () => {
  await leases.close();
  await rig.stop();
});

const overSse = { sse: '2024-11-05' };
const client = (capabilities = {}) => ({
  revision: '2025-11-25',
  capabilities,
  clientInfo: { name: 'c', version: '1' },
});
const server = () => [...rig.server.clients.values()].at(-1);

test('calls of clients that cannot be asked share a session over HTTP+SSE, others have one each', async () => {
  const shared = await Promise.all([1, 2].map(() => leases.lease(rig.target(), overSse, client(), false)));
  expect(shared[0]?.session).toBe(shared[1]?.session);
  expect(await shared[0]?.session.request(echoRequest())).toEqual(echoed());
  const alone = await Promise.all(
    [1, 2].map(() => leases.lease(rig.target(), overSse, client({ sampling: {} }), false)),
  );
  expect(alone[0]?.session).not.toBe(alone[1]?.session);
  expect(rig.server.opened).toBe(3);
  await leases.end('con_1');
  await until(() => rig.server.clients.size === 0);
});

test('what a server asks goes to the call under way, and is refused where nobody is there to be asked', async () => {
  const lease = await leases.lease(rig.target(), overSse, client({ roots: {} }), false);
  const heard: UpstreamMessage[] = [];
  lease.onMessage = (message) => void heard.push(message);
  server()?.send({ id: 'asked', method: 'roots/list' });
  await until(() => heard.length === 1);
  expect(heard).toEqual([{ id: 'asked', method: 'roots/list' }]);
  lease.release();
  server()?.send({ id: 'late', method: 'roots/list' });
  const refusal = await until(() => rig.server.calls.find(({ message }) => message.id === 'late'));
  expect(refusal.message).toEqual({
    jsonrpc: '2.0',
    id: 'late',
    error: { code: -32601, message: 'Method not found' },
  });
});

test('with one origin there are no more sessions than may be: an idle one makes way, or the call is refused', async () => {
  const few = createSessionLeases(
    rig.transport({ leasedSessionsPerOrigin: 2 }),
    new StandingClock(),
    new ChangeFeed(),
    new LocalBus('proc_2'),
  );
  const lend = (name: string) =>
    few.lease(rig.target(), overSse, { ...client(), clientInfo: { name, version: '1' } }, false);
  const idle = await lend('idle');
  const busy = await lend('busy');
  idle.release();
  const next = await lend('next');
  await until(() => rig.server.clients.size === 2);
  expect(idle.session.ended.aborted).toBe(true);
  expect(busy.session.ended.aborted).toBe(false);
  await expect(lend('one too many')).rejects.toMatchObject({ kind: 'busy' });
  next.release();
  await lend('again');
  await few.close();
});
