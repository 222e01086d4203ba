import type { Store } from '../platform/store/store.ts';
import { type Connection, fromRow } from './connection.ts';

/** The stored connection, or undefined. */
export async function findConnection(
  store: Store,
  namespace: string,
  id: string,
): Promise<Connection | undefined> {
  const row = await store.db
    .selectFrom('connections')
    .selectAll()
    .where('namespace', '=', namespace)
    .where('id', '=', id)
    .executeTakeFirst();
  return row && fromRow(row);
}

/** The same by its row id, which no later connection of the name has. */
export async function findConnectionByUid(store: Store, uid: string): Promise<Connection | undefined> {
  const row = await store.db.selectFrom('connections').selectAll().where('uid', '=', uid).executeTakeFirst();
  return row && fromRow(row);
}
