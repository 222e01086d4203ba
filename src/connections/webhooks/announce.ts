import type { Transaction } from 'kysely';
import { rowId } from '../../platform/ids.ts';
import type { Tables } from '../../platform/store/schema.ts';
import type { Store } from '../../platform/store/store.ts';
import type { Connection } from '../connection.ts';
import type { ConnectionsDeps } from '../deps.ts';
import type { Status } from '../status.ts';

export const connectionEvents = [
  'connection.auth_required',
  'connection.recovered',
  'connection.tools_changed',
] as const;

export type ConnectionEvent = (typeof connectionEvents)[number];

/** What an event tells of its connection. */
export type AnnouncedConnection = Pick<Connection, 'uid' | 'namespace' | 'id' | 'name' | 'metadata'> & {
  status: { state: Status['state'] };
};

/**
 * Queues `event` for each webhook of the namespace that wants it. Give it the transaction that changes the status:
 * the event exists if and only if the change does, and once. Returns whether any was queued; if so, wake the courier
 * after the commit. The body is fixed here, so that every attempt tells the same; it carries no URL and no secret. `more` is
 * what else it tells.
 */
export async function announce(
  { clock, store }: Pick<ConnectionsDeps, 'clock'> & { store: Pick<Store, 'kind'> },
  transaction: Transaction<Tables>,
  event: ConnectionEvent,
  connection: AnnouncedConnection,
  more: Record<string, unknown> = {},
): Promise<boolean> {
  const { namespace, id: connectionId, name, metadata, status } = connection;
  const registered = transaction
    .selectFrom('webhooks')
    .select(['id', 'events'])
    .where('namespace', '=', namespace)
    .orderBy('id');
  // A webhook deleted before the insert would fail that, and the change of status with it, so PostgreSQL holds the
  // rows until the commit. SQLite runs one transaction at a time.
  const webhooks = await (store.kind === 'postgres' ? registered.forKeyShare() : registered).execute();
  const wanting = webhooks.filter(({ events }) => (JSON.parse(events) as ConnectionEvent[]).includes(event));
  if (wanting.length === 0) return false;
  const now = clock.now();
  const message = {
    id: rowId('msg'),
    body: JSON.stringify({
      type: event,
      timestamp: new Date(now).toISOString(),
      data: { namespace, connectionId, name, metadata, status: { state: status.state }, ...more },
    }),
    created_at: now,
    due_at: now,
  };
  await transaction
    .insertInto('webhook_deliveries')
    .values(wanting.map(({ id }) => ({ ...message, webhook_id: id })))
    .execute();
  return true;
}
