import type { Limits } from '../../platform/limits.ts';
import type { ConnectionsDeps } from '../deps.ts';
import { type AttemptDeps, attemptDelivery } from './attempt.ts';
import {
  type ClaimedDelivery,
  claimDelivery,
  type Delivery,
  dropOldest,
  freeDeliveries,
  leaseMs,
  postponeDelivery,
  releaseDelivery,
  removeDelivery,
} from './queue.ts';

/**
 * Brings queued events to their webhooks, again and again until one is taken or too old. All it knows is in the
 * queue, so events survive a restart; each delivery is claimed by compare-and-swap, so one process at a time
 * attempts it, and the claim of one that dies runs out. A receiver may still get an event twice, under one id.
 */
export interface Courier {
  /** Looks for due deliveries soon; call it after the commit of what `announce` queued. */
  wake(): void;
  /** Waits for attempts under way; call it once `stopping` is aborted. */
  settled(): Promise<void>;
}

export type CourierDeps = AttemptDeps & Pick<ConnectionsDeps, 'store' | 'log'>;

/**
 * Builds the courier of this process; its first sweep comes at once, and the last before `deps.stopping` aborts.
 * Faults of a sweep or a delivery are logged, not thrown.
 */
export function createCourier(deps: CourierDeps): Courier {
  const { store, clock, limits, log, stopping } = deps;
  const running = new Map<string, { webhookId: string; work: Promise<void> }>();
  let cancelTimer = () => {};
  let sweeping: Promise<void> | undefined;
  let sweepAgain = false;

  function schedule(ms: number): void {
    cancelTimer();
    if (!stopping.aborted) cancelTimer = clock.after(ms, sweep);
  }

  function sweep(): void {
    sweeping = startDue()
      .catch((error: unknown) => {
        log.error({ err: error }, 'due webhook deliveries could not be read');
        return limits.webhookSweepMs;
      })
      .then((nextMs) => {
        sweeping = undefined;
        schedule(sweepAgain ? 0 : nextMs);
        sweepAgain = false;
      });
  }

  /** Starts what is due, as far as there is room. Returns in how many milliseconds to look again. */
  async function startDue(): Promise<number> {
    let nextMs = limits.webhookSweepMs;
    const count = limits.webhookConcurrency * 2;
    for (;;) {
      // One webhook with a long queue leaves the others their turn: once it has its share, look past it.
      const except = busyWebhooks();
      const free = await freeDeliveries(store, { now: clock.now(), leaseMs: leaseMs(limits), except, count });
      let hasStarted = false;
      for (const delivery of free) {
        const waitMs = delivery.dueAt - clock.now();
        // Much further off than it was ever set, by any process's clock: ours has gone back since.
        if (waitMs > 0 && waitMs <= 2 * longestWaitMs(delivery.attempt, limits)) {
          nextMs = Math.min(nextMs, waitMs);
        } else if (hasRoom(delivery)) {
          start(delivery);
          hasStarted = true;
        }
      }
      if (!hasStarted || free.length < count) return nextMs;
    }
  }

  function busyWebhooks(): string[] {
    const counts = Map.groupBy(running.values(), ({ webhookId }) => webhookId);
    return [...counts].filter(([, all]) => all.length >= limits.webhookConcurrencyPerHook).map(([id]) => id);
  }

  function hasRoom(delivery: Delivery): boolean {
    return (
      !stopping.aborted &&
      running.size < limits.webhookConcurrency &&
      !running.has(keyOf(delivery)) &&
      !busyWebhooks().includes(delivery.webhookId)
    );
  }

  function start(delivery: Delivery): void {
    const work = claimAndDeliver(delivery)
      .then(wake, (error: unknown) => {
        // The next sweep comes in its own time: a store that fails at once would be asked without a pause.
        log.error({ err: error, webhook: delivery.webhookId }, 'a webhook delivery could not be stored');
      })
      .finally(() => running.delete(keyOf(delivery)));
    running.set(keyOf(delivery), { webhookId: delivery.webhookId, work });
  }

  async function claimAndDeliver(delivery: Delivery): Promise<void> {
    const claimed = await claimDelivery(store, delivery, clock.now() + leaseMs(limits));
    if (!claimed) return;
    const outcome = await attemptDelivery(deps, claimed);
    const names = { webhook: claimed.webhookId, namespace: claimed.namespace, delivery: claimed.id };
    switch (outcome.kind) {
      case 'delivered':
        await removeDelivery(store, claimed);
        break;
      case 'gone':
        await removeDelivery(store, claimed);
        log.warn(names, 'a webhook is gone (410): the event is dropped; delete the webhook if it stays gone');
        break;
      case 'failed':
        await retryLater(claimed, { ...names, reason: outcome.reason });
        break;
      case 'broken_off':
        await releaseDelivery(store, claimed);
        return;
    }
    const dropped = await dropOldest(store, claimed.webhookId, limits.webhookQueuePerHook);
    if (dropped > 0) {
      log.warn(
        { webhook: claimed.webhookId, dropped },
        'a webhook takes too little: its oldest events are dropped',
      );
    }
  }

  async function retryLater(claimed: ClaimedDelivery, said: Record<string, string>): Promise<void> {
    const dueAt = clock.now() + retryWaitMs(claimed.attempt, limits);
    if (dueAt - claimed.createdAt > limits.webhookGiveUpMs) {
      await removeDelivery(store, claimed);
      log.warn(said, 'a webhook failed for too long: the event is dropped');
      return;
    }
    await postponeDelivery(store, claimed, dueAt);
    log.debug(said, 'a webhook failed: the event waits for another attempt');
  }

  function wake(): void {
    // The sweep under way may have read past what is new, and sets the timer anew at its end.
    if (sweeping) sweepAgain = true;
    else schedule(0);
  }

  wake();
  return {
    wake,
    async settled() {
      cancelTimer();
      await sweeping;
      await Promise.allSettled([...running.values()].map(({ work }) => work));
    },
  };
}

function keyOf({ webhookId, id }: Delivery): string {
  return `${webhookId}/${id}`;
}

/** The wait after the failed attempt `attempt`, 0 for the first: five times as long each time, and up to a fifth less. */
function retryWaitMs(attempt: number, limits: Limits): number {
  return Math.round(longestWaitMs(attempt + 1, limits) * (1 - 0.2 * Math.random()));
}

/** The longest wait that a delivery was given after `attempts` failed ones. */
function longestWaitMs(attempts: number, { webhookRetryMinMs, webhookRetryMaxMs }: Limits): number {
  return attempts === 0 ? 0 : Math.min(webhookRetryMaxMs, webhookRetryMinMs * 5 ** (attempts - 1));
}
