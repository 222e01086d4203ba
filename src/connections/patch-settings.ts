import { ApiError } from '../platform/errors.ts';
import { fromRow } from './connection.ts';
import { isConnectionId } from './connection-id.ts';
import type { ConnectionSettings, ConnectionSettingsPatch } from './connection-settings.ts';
import { type ConnectionsDeps, staleKey } from './deps.ts';

/**
 * Changes the settings that `patch` names and returns all of them; every process calls by them from its next call on.
 * Throws ApiError `connection_not_found`.
 */
export async function patchConnectionSettings(
  { store, limits }: ConnectionsDeps,
  namespace: string,
  id: string,
  { callTimeoutMs, idleTimeoutMs, maxCallMs }: ConnectionSettingsPatch,
): Promise<ConnectionSettings> {
  if (!isConnectionId(id, limits.connectionIdChars)) throw new ApiError('connection_not_found');
  return store.write(async (transaction, stale) => {
    const row = await transaction
      .updateTable('connections')
      .set(({ ref }) => ({
        call_timeout_ms: callTimeoutMs === undefined ? ref('call_timeout_ms') : callTimeoutMs,
        idle_timeout_ms: idleTimeoutMs === undefined ? ref('idle_timeout_ms') : idleTimeoutMs,
        max_call_ms: maxCallMs === undefined ? ref('max_call_ms') : maxCallMs,
      }))
      .where('namespace', '=', namespace)
      .where('id', '=', id)
      .returningAll()
      .executeTakeFirst();
    if (!row) throw new ApiError('connection_not_found');
    stale(staleKey(namespace, id));
    return fromRow(row).settings;
  });
}
