import type { Selectable, Transaction } from 'kysely';
import type { Tables } from '../platform/store/schema.ts';

/**
 * Reads the row of namespace `name` and keeps it from changing until the transaction ends, for what must not happen
 * twice at once in a namespace: changing its settings, counting before adding. undefined if there is no such namespace.
 *
 * An update that changes nothing takes the lock on both databases; `select … for update` is PostgreSQL's alone.
 */
export async function lockNamespace(
  transaction: Transaction<Tables>,
  name: string,
): Promise<Selectable<Tables['namespaces']> | undefined> {
  return transaction
    .updateTable('namespaces')
    .set((row) => ({ settings: row.ref('settings') }))
    .where('name', '=', name)
    .returningAll()
    .executeTakeFirst();
}
