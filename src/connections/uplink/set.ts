import { ApiError } from '../../platform/errors.ts';
import { type Connection, fromRow } from '../connection.ts';
import { type ConnectionsDeps, staleKey } from '../deps.ts';
import type { MetadataGuard } from '../metadata-guard.ts';
import { indexMetadata } from '../metadata-index.ts';
import type { CheckedRequest } from '../request.ts';

/**
 * Sets name and metadata of an uplink; its status is that of its tunnel, so nothing is probed. undefined: it has been
 * deleted meanwhile. Throws what `guard` throws, and ApiError `validation_error` for headers, which nothing would get.
 */
export async function setUplink(
  { store }: ConnectionsDeps,
  { uid, namespace, id }: Connection,
  { name, metadata, headers }: CheckedRequest,
  guard: MetadataGuard,
): Promise<Connection | undefined> {
  if (headers) throw new ApiError('validation_error', { message: 'headers: an uplink has none.' });
  return store.write(async (transaction, stale) => {
    const select = transaction.selectFrom('connections').select('metadata').where('uid', '=', uid);
    const before = await (store.kind === 'postgres' ? select.forUpdate() : select).executeTakeFirst();
    if (!before) return undefined;
    guard.is(before.metadata === null ? null : JSON.parse(before.metadata));
    const row = await transaction
      .updateTable('connections')
      .set(({ ref }) => ({
        name: name ?? ref('name'),
        metadata: metadata ? JSON.stringify(metadata) : ref('metadata'),
      }))
      .where('uid', '=', uid)
      .returningAll()
      .executeTakeFirstOrThrow();
    if (metadata) await indexMetadata(transaction, uid, namespace, metadata);
    stale(staleKey(namespace, id));
    return fromRow(row);
  });
}
