import type { Updateable } from 'kysely';
import type { Limits } from '../../platform/limits.ts';
import type { WebhookDeliveryRow } from '../../platform/store/schema.ts';
import type { Store } from '../../platform/store/store.ts';

/** An event that waits for its webhook, without its body. Times are in milliseconds since 1970. */
export interface Delivery {
  /** The message id, the same at every attempt and for every webhook that gets the event. */
  id: string;
  webhookId: string;
  namespace: string;
  url: string;
  sealedSecret: string;
  createdAt: number;
  /** How many attempts have failed. */
  attempt: number;
  dueAt: number;
  claim: number | null;
}

/** A delivery that this process alone may attempt, until `claim`. */
export interface ClaimedDelivery extends Delivery {
  claim: number;
  body: string;
}

/** How long a claim holds: past the attempt, so that only a process that died loses one. */
export function leaseMs(limits: Limits): number {
  return limits.webhookAttemptMs + 10_000;
}

/** Up to `count` deliveries that no process holds, of other webhooks than `except`; the next one due comes first. */
export async function freeDeliveries(
  store: Store,
  { now, leaseMs, except, count }: { now: number; leaseMs: number; except: string[]; count: number },
): Promise<Delivery[]> {
  let query = store.db
    .selectFrom('webhook_deliveries as delivery')
    .innerJoin('webhooks as webhook', 'webhook.id', 'delivery.webhook_id')
    .select([
      'delivery.id',
      'delivery.webhook_id as webhookId',
      'delivery.created_at as createdAt',
      'delivery.attempt',
      'delivery.due_at as dueAt',
      'delivery.claim',
      'webhook.namespace',
      'webhook.url',
      'webhook.sealed_secret as sealedSecret',
    ])
    .where((row) =>
      row.or([
        row('delivery.claim', 'is', null),
        row('delivery.claim', '<=', now),
        // Much longer than any claim is ever made: the clock has gone back since. Not any longer, because `now` is
        // older than a claim that another process makes meanwhile, and its clock may be ahead of ours.
        row('delivery.claim', '>', now + 2 * leaseMs),
      ]),
    );
  if (except.length > 0) query = query.where('delivery.webhook_id', 'not in', except);
  return query.orderBy('delivery.due_at').limit(count).execute();
}

/** Takes `delivery` for this process until `until`; undefined if it changed since it was read. */
export async function claimDelivery(
  store: Store,
  delivery: Delivery,
  until: number,
): Promise<ClaimedDelivery | undefined> {
  const claimed = await store.db
    .updateTable('webhook_deliveries')
    .set({ claim: until })
    .where('webhook_id', '=', delivery.webhookId)
    .where('id', '=', delivery.id)
    .where('attempt', '=', delivery.attempt)
    .where('claim', delivery.claim === null ? 'is' : '=', delivery.claim)
    .returning('body')
    .executeTakeFirst();
  return claimed && { ...delivery, claim: until, body: claimed.body };
}

/** Gives a claim back as if there had been no attempt. */
export async function releaseDelivery(store: Store, delivery: ClaimedDelivery): Promise<void> {
  await updateClaimed(store, delivery, { claim: null });
}

/** Gives a claim back after a failed attempt; the next one is not before `dueAt`. */
export async function postponeDelivery(
  store: Store,
  delivery: ClaimedDelivery,
  dueAt: number,
): Promise<void> {
  await updateClaimed(store, delivery, { claim: null, attempt: delivery.attempt + 1, due_at: dueAt });
}

/** Takes a delivery out of the queue, delivered or not. */
export async function removeDelivery(store: Store, { webhookId, id }: Delivery): Promise<void> {
  await store.db
    .deleteFrom('webhook_deliveries')
    .where('webhook_id', '=', webhookId)
    .where('id', '=', id)
    .execute();
}

/** Cuts the queue of a webhook down to its newest `keep`. Returns how many were dropped. */
export async function dropOldest(store: Store, webhookId: string, keep: number): Promise<number> {
  const queue = store.db.selectFrom('webhook_deliveries').where('webhook_id', '=', webhookId);
  const { queued } = await queue
    .select(({ fn }) => fn.countAll<number | bigint>().as('queued'))
    .executeTakeFirstOrThrow();
  if (Number(queued) <= keep) return 0;
  // By the newest that has to go, and not by number: a process that does the same meanwhile drops the same.
  const newest = await queue
    .select(['created_at', 'id'])
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(1)
    .offset(keep)
    .executeTakeFirst();
  if (!newest) return 0;
  const dropped = await store.db
    .deleteFrom('webhook_deliveries')
    .where('webhook_id', '=', webhookId)
    .where((row) =>
      row.or([
        row('created_at', '<', newest.created_at),
        row.and([row('created_at', '=', newest.created_at), row('id', '<=', newest.id)]),
      ]),
    )
    .executeTakeFirst();
  return Number(dropped.numDeletedRows);
}

/** Changes nothing if the claim ran out and another process took over. */
async function updateClaimed(
  store: Store,
  { webhookId, id, claim }: ClaimedDelivery,
  columns: Updateable<WebhookDeliveryRow>,
): Promise<void> {
  await store.db
    .updateTable('webhook_deliveries')
    .set(columns)
    .where('webhook_id', '=', webhookId)
    .where('id', '=', id)
    .where('claim', '=', claim)
    .execute();
}
