import { beforeEach, describe, expect, test } from 'vitest';
import { setUpWebhooks, type WebhookRig } from '../../../test/fixtures/webhooks.ts';
import {
  type ClaimedDelivery,
  claimDelivery,
  type Delivery,
  freeDeliveries,
  postponeDelivery,
  releaseDelivery,
} from './queue.ts';

let rig: WebhookRig;
beforeEach(async () => {
  rig = await setUpWebhooks();
  await rig.register();
  await rig.announce();
  return rig.stop;
});

const leaseMs = 20_000;

async function read(): Promise<Delivery> {
  const request = { now: rig.clock.now(), leaseMs, except: [], count: 10 };
  const [delivery] = await freeDeliveries(rig.deps.store, request);
  if (!delivery) throw new Error('no delivery is free');
  return delivery;
}

function claim(delivery: Delivery): Promise<ClaimedDelivery | undefined> {
  return claimDelivery(rig.deps.store, delivery, rig.clock.now() + leaseMs);
}

describe('a claim', () => {
  test('goes to one of several that read the same row', async () => {
    const { store } = rig.deps;
    const delivery = await read();
    const claims = await Promise.all([0, 1, 2, 3].map(() => claim(delivery)));
    expect(claims.filter(Boolean)).toHaveLength(1);
    const request = { now: rig.clock.now(), leaseMs, except: [], count: 10 };
    expect(await freeDeliveries(store, request)).toEqual([]);
  });

  test('is refused to who read the row before another attempt failed', async () => {
    const early = await read();
    const claimed = (await claim(await read())) as ClaimedDelivery;
    await postponeDelivery(rig.deps.store, claimed, rig.clock.now() + 5_000);
    expect(await claim(early)).toBeUndefined();
  });

  test('that ran out and went to another process is not given back by the first', async () => {
    const { store } = rig.deps;
    const first = (await claim(await read())) as ClaimedDelivery;
    rig.clock.step(leaseMs);
    const second = (await claim(await read())) as ClaimedDelivery;
    await postponeDelivery(store, first, rig.clock.now() + 5_000);
    await releaseDelivery(store, first);
    const row = await store.db.selectFrom('webhook_deliveries').selectAll().executeTakeFirstOrThrow();
    expect(row).toMatchObject({ attempt: 0, claim: second.claim });
  });
});
