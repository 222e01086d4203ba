import { ApiError } from '../platform/errors.ts';
import { type ConnectionsDeps, staleKey } from './deps.ts';

/** Deletes a connection with its credentials and ends its upstream sessions. Throws ApiError `connection_not_found`. */
export async function deleteConnection(
  { store, sessions }: ConnectionsDeps,
  namespace: string,
  id: string,
): Promise<void> {
  const deleted = await store.write(async (transaction, stale) => {
    stale(staleKey(namespace, id));
    return transaction
      .deleteFrom('connections')
      .where('namespace', '=', namespace)
      .where('id', '=', id)
      .returning('uid')
      .executeTakeFirst();
  });
  if (!deleted) throw new ApiError('connection_not_found');
  await sessions.end(deleted.uid);
}
