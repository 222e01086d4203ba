import { pipeline } from 'node:stream/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import { type Handler, startUpstream, type Upstream } from '../../../test/fixtures/upstream.ts';
import { setUpWebhooks, verified, type WebhookRig } from '../../../test/fixtures/webhooks.ts';
import { deleteWebhook } from './webhook.ts';

const hour = 3_600_000;
const answering =
  (status: number, headers: Record<string, string> = {}): Handler =>
  (_request, response) =>
    void response.writeHead(status, headers).end();
const silent: Handler = () => {};

let rig: WebhookRig;
beforeEach(async () => {
  rig = await setUpWebhooks({ webhookAttemptMs: 500 });
  return rig.stop;
});

const got = () => rig.receiver.received;
/** Waits until the one delivery in the queue has failed `attempt` times. */
const failed = (attempt: number) =>
  rig.until(async () => (await rig.queue()).find((queued) => queued.attempt === attempt));
const emptied = () => rig.until(async () => (await rig.queue()).length === 0);
const warnings = () => rig.logs.filter((line) => JSON.parse(line).level === 40);

describe('a delivery', () => {
  test('is one signed POST of the queued body, and leaves the queue', async () => {
    const { verifier } = await rig.register(`${rig.receiver.url}?key=a%20b`);
    const { courier } = rig.startCourier();
    await rig.announce();
    const [queued] = await rig.queue();
    courier.wake();
    await emptied();
    expect(got()).toMatchObject([{ method: 'POST', path: '/hook?key=a%20b', body: queued?.body }]);
    const request = got()[0] as Upstream['received'][number];
    expect(verified(verifier, request)).toMatchObject({
      id: queued?.id,
      event: { type: 'connection.recovered' },
    });
    expect(request.headers['webhook-timestamp']).toBe(String(Math.floor(rig.clock.now() / 1000)));
  });

  test('goes to every webhook that wants it, each with a signature of its own', async () => {
    const one = await rig.register(`${rig.receiver.url}/one`);
    const two = await rig.register(`${rig.receiver.url}/two`);
    await rig.announce();
    rig.startCourier();
    await emptied();
    const toOne = got().find(({ path }) => path === '/hook/one') as Upstream['received'][number];
    const toTwo = got().find(({ path }) => path === '/hook/two') as Upstream['received'][number];
    expect(verified(one.verifier, toOne).id).toBe(verified(two.verifier, toTwo).id);
    expect(() => verified(one.verifier, toTwo)).toThrow();
  });

  test.each([200, 202, 299])('counts as taken with %i', async (status) => {
    await rig.register();
    rig.receiver.handle(answering(status));
    await rig.announce();
    rig.startCourier();
    await emptied();
    expect(got()).toHaveLength(1);
  });

  test('does not wait for the body of an answer, and reads only so much of it', async () => {
    await rig.register();
    const closed = Promise.withResolvers<number>();
    rig.receiver.handle(async (_request, response) => {
      response.writeHead(200);
      let written = 0;
      const endless = function* () {
        for (const chunk = Buffer.alloc(16 * 1024); ; written += chunk.length) yield chunk;
      };
      await pipeline(endless, response).catch(() => closed.resolve(written));
    });
    await rig.announce();
    rig.startCourier();
    await emptied();
    expect(await closed.promise).toBeLessThan(16 * 1024 * 1024);
  });

  test('ends with its webhook: what was queued for a deleted one is never sent', async () => {
    const { id } = await rig.register();
    await rig.announce();
    await deleteWebhook(rig.deps.store, 'default', id);
    expect(await rig.queue()).toEqual([]);
    await rig.register(`${rig.receiver.url}/other`);
    await rig.announce();
    rig.startCourier();
    await emptied();
    expect(got().map(({ path }) => path)).toEqual(['/hook/other']);
  });
});

describe('a receiver that fails', () => {
  test.each([
    { fault: '500', handler: answering(500) },
    { fault: '404', handler: answering(404) },
    { fault: '429', handler: answering(429) },
    { fault: 'a redirect', handler: answering(307, { location: '/elsewhere' }) },
    { fault: 'a socket cut off', handler: ((_, response) => void response.destroy()) as Handler },
    { fault: 'silence', handler: silent },
  ])('with $fault gets the event again, under its id and with a fresh signature', async ({ handler }) => {
    const { verifier } = await rig.register();
    rig.receiver.handle(handler);
    await rig.announce();
    rig.startCourier();
    const { waitMs } = await failed(1);
    expect(waitMs).toBeGreaterThanOrEqual(4_000);
    expect(waitMs).toBeLessThanOrEqual(5_000);
    expect(got().map(({ path }) => path)).toEqual(['/hook']);

    rig.receiver.handle(answering(204));
    rig.clock.step(waitMs - 1);
    await rig.idle();
    expect(await rig.queue()).toMatchObject([{ attempt: 1 }]);
    rig.clock.step(1);
    await emptied();
    const [first, second] = got() as [Upstream['received'][number], Upstream['received'][number]];
    expect(got()).toHaveLength(2);
    expect(second.body).toBe(first.body);
    expect(verified(verifier, second).id).toBe(verified(verifier, first).id);
    const times = [first, second].map(({ headers }) => Number(headers['webhook-timestamp']));
    expect((times[1] as number) - (times[0] as number)).toBeGreaterThanOrEqual(4);
  });

  test('by not being there gets the event once it is', async () => {
    await rig.register();
    await rig.receiver.stop();
    await rig.announce();
    rig.startCourier();
    const { waitMs } = await failed(1);
    await rig.receiver.start();
    rig.clock.step(waitMs);
    await emptied();
    expect(got()).toHaveLength(1);
  });

  test('for long is asked ever more rarely, and is given up after three days, with a warning', async () => {
    const { id } = await rig.register(`${rig.receiver.url}?token=sentinel`);
    rig.receiver.handle(answering(500));
    await rig.announce();
    rig.startCourier();
    const waits: number[] = [];
    const start = rig.clock.now();
    for (;;) {
      const state = await rig.until(async () => {
        const [queued] = await rig.queue();
        if (!queued) return 'given up';
        return queued.attempt > waits.length ? queued : undefined;
      });
      if (state === 'given up') break;
      waits.push(state.waitMs);
      rig.clock.step(state.waitMs);
    }
    const seconds = [5, 25, 125, 625, 3_125, 4 * 3_600];
    for (const [n, ms] of waits.entries()) {
      const longest = (seconds[n] ?? 4 * 3_600) * 1_000;
      expect(ms).toBeGreaterThanOrEqual(longest * 0.8 - 1);
      expect(ms).toBeLessThanOrEqual(longest);
    }
    expect(got()).toHaveLength(waits.length + 1);
    const lastedMs = rig.clock.now() - start;
    expect(lastedMs).toBeGreaterThan(3 * 24 * hour - 4 * hour);
    expect(lastedMs).toBeLessThanOrEqual(3 * 24 * hour);
    expect(warnings()).toHaveLength(1);
    expect(warnings()[0]).toContain(id);
    expect(warnings()[0]).toContain('answered 500');
    expect(rig.logs.join('')).not.toContain('sentinel');
  });

  test('with 410 is not asked again for that event, with a warning', async () => {
    const { id } = await rig.register(`${rig.receiver.url}?token=sentinel`);
    rig.receiver.handle(answering(410));
    await rig.announce();
    rig.startCourier();
    await emptied();
    expect(got()).toHaveLength(1);
    expect(warnings()).toHaveLength(1);
    expect(warnings()[0]).toContain(id);
    expect(rig.logs.join('')).not.toContain('sentinel');
  });

  test('and another that hangs leave the rest their turn', async () => {
    const hanging = await startUpstream(silent, '/hook');
    try {
      await rig.register(hanging.url);
      for (let n = 0; n < 200; n++) await rig.announce();
      const { id } = await rig.register();
      await rig.announce();
      rig.startCourier();
      await rig.until(() => got().length === 1);
      expect(hanging.received.length).toBeGreaterThan(0);
      expect(hanging.received.length).toBeLessThanOrEqual(rig.deps.limits.webhookConcurrencyPerHook);
      await rig.until(async () => !(await rig.queue()).some(({ webhook_id }) => webhook_id === id));
    } finally {
      await hanging.stop();
    }
  });
});

test('a secret that does not open is a failure like others: it is tried again, later', async () => {
  const { id } = await rig.register();
  await rig.deps.store.db
    .updateTable('webhooks')
    .set({ sealed_secret: await rig.deps.keyring.seal('default', ['another', 'row'], Buffer.alloc(32)) })
    .where('id', '=', id)
    .execute();
  await rig.announce();
  rig.startCourier();
  expect((await failed(1)).waitMs).toBeGreaterThan(0);
  expect(got()).toEqual([]);
});

test('a queue keeps the newest events, and says that it dropped some', async () => {
  const { id } = await rig.register();
  rig.receiver.handle(answering(500));
  for (let n = 0; n < 25; n++) {
    await rig.announce(undefined, { name: `event ${n}` });
    rig.clock.step(1);
  }
  rig.startCourier({ webhookQueuePerHook: 10, webhookConcurrencyPerHook: 1 });
  await rig.until(async () => (await rig.queue()).length === 10);
  const names = (await rig.queue()).map(({ body }) => JSON.parse(body).data.name).sort();
  expect(names).toEqual(Array.from({ length: 10 }, (_, n) => `event ${n + 15}`));
  await rig.until(() => warnings().length > 0);
  expect(JSON.parse(warnings()[0] as string)).toMatchObject({ webhook: id, dropped: 15 });
});

describe('several couriers on one queue', () => {
  test('deliver each event once', async () => {
    await rig.register();
    for (let n = 0; n < 100; n++) await rig.announce();
    for (let n = 0; n < 3; n++) rig.startCourier();
    await emptied();
    const ids = got().map(({ headers }) => headers['webhook-id']);
    expect(ids).toHaveLength(100);
    expect(new Set(ids).size).toBe(100);
  });

  test('leave a claimed delivery alone until the claim of a dead process has run out', async () => {
    await rig.register();
    await rig.announce();
    const leaseMs = rig.deps.limits.webhookAttemptMs + 10_000;
    await claimUntil(rig.clock.now() + leaseMs);
    rig.startCourier();
    rig.clock.step(leaseMs - 1);
    await rig.idle();
    expect(got()).toEqual([]);
    rig.clock.step(rig.deps.limits.webhookSweepMs);
    await emptied();
    expect(got()).toHaveLength(1);
  });

  test('respect the claim of a process whose clock is a little ahead', async () => {
    await rig.register();
    await rig.announce();
    await claimUntil(rig.clock.now() + rig.deps.limits.webhookAttemptMs + 10_000 + 2_000);
    rig.startCourier();
    await rig.idle();
    expect(await rig.queue()).toMatchObject([{ attempt: 0 }]);
    expect(got()).toEqual([]);
  });

  test('wait as a process whose clock is a little ahead decided', async () => {
    await rig.register();
    await rig.announce();
    const due_at = rig.clock.now() + rig.deps.limits.webhookRetryMinMs + 2_000;
    await rig.deps.store.db.updateTable('webhook_deliveries').set({ attempt: 1, due_at }).execute();
    rig.startCourier();
    await rig.idle();
    expect(got()).toEqual([]);
    rig.clock.step(due_at - rig.clock.now());
    await emptied();
  });

  test('take no notice of a claim that is much longer than any is made', async () => {
    await rig.register();
    await rig.announce();
    await claimUntil(rig.clock.now() + hour);
    rig.startCourier();
    await emptied();
  });

  async function claimUntil(claim: number): Promise<void> {
    await rig.deps.store.db.updateTable('webhook_deliveries').set({ claim }).execute();
  }
});

test('a wake that comes while the queue is being read is not lost', async () => {
  const { courier } = rig.startCourier();
  rig.clock.step(0);
  courier.wake();
  // Ends the reading, and leaves no timer but the one that is set then.
  await courier.settled();
  expect(rig.clock.isAtRest()).toBe(false);
});

test('stopping breaks an attempt off, which does not count, and the next start delivers', async () => {
  await rig.register();
  rig.receiver.handle(silent);
  await rig.announce();
  const { stop } = rig.startCourier();
  await rig.until(() => got().length === 1);
  await stop();
  expect(await rig.queue()).toMatchObject([{ attempt: 0 }]);
  rig.receiver.handle(answering(204));
  rig.startCourier();
  await emptied();
  expect(got()).toHaveLength(2);
});

test.each([{ attempts: 0 }, { attempts: 1 }])(
  'a clock that goes back an hour holds nothing up after $attempts attempts',
  async ({ attempts }) => {
    await rig.register();
    rig.receiver.handle(answering(attempts === 0 ? 204 : 500));
    await rig.announce();
    let stop = async () => {};
    if (attempts > 0) {
      ({ stop } = rig.startCourier());
      await failed(attempts);
    }
    await stop();
    rig.receiver.handle(answering(204));
    rig.clock.step(-hour);
    rig.startCourier();
    await emptied();
    expect(got()).toHaveLength(attempts + 1);
  },
);
