import { ApiError } from '../platform/errors.ts';
import { type ConnectionsDeps, staleKey } from './deps.ts';
import { findConnection } from './find.ts';
import { readGrant } from './oauth/grant.ts';
import { revokeGrant } from './oauth/revoke.ts';

/**
 * Deletes a connection with its credentials, ends its upstream sessions, and revokes its grant where the authorization
 * server offers that. Throws ApiError `connection_not_found`.
 */
export async function deleteConnection(deps: ConnectionsDeps, namespace: string, id: string): Promise<void> {
  const connection = await findConnection(deps.store, namespace, id);
  if (!connection) throw new ApiError('connection_not_found');
  const { uid } = connection;
  // One that does not open can be deleted all the same.
  const grant = await readGrant(deps, uid).catch((error: unknown) => {
    deps.log.error({ err: error, connection: uid }, 'a grant is deleted that cannot be opened, nor revoked');
    return undefined;
  });
  const deleted = await deps.store.write(async (transaction, stale) => {
    stale(staleKey(namespace, id));
    return transaction.deleteFrom('connections').where('uid', '=', uid).executeTakeFirst();
  });
  if (deleted.numDeletedRows === 0n) throw new ApiError('connection_not_found');
  deps.circuits.reset(uid);
  await Promise.all([deps.sessions.end(uid), grant && revokeGrant(deps, grant)]);
}
