import { ApiError } from '../platform/errors.ts';
import { createTarget } from '../upstream/target.ts';
import { type Connection, fromRow } from './connection.ts';
import { checkConnectionId } from './connection-id.ts';
import { insertConnection } from './create.ts';
import { type ConnectionsDeps, staleKey } from './deps.ts';
import { findConnection } from './find.ts';
import { indexMetadata } from './metadata-index.ts';
import { adoptSession, findingColumns, probe, releaseSession } from './probe.ts';
import { type CheckedRequest, type ConnectionRequest, checkRequest, refuseMock } from './request.ts';
import { flatHeaders, sealHeaders, unsealHeaders } from './sealed-headers.ts';

/**
 * Creates or updates the connection `id`. `headers` and `metadata` replace the stored value as a whole, what is
 * left out stays, and every set probes (design §8, PUT). `created` tells 201 from 200.
 * Throws ApiError `validation_error`, `url_mismatch`, `conflict`.
 */
export async function setConnection(
  deps: ConnectionsDeps,
  namespace: string,
  id: string,
  request: ConnectionRequest,
): Promise<{ connection: Connection; created: boolean }> {
  checkConnectionId(id, deps.limits.connectionIdChars);
  const checked = checkRequest(request, deps.limits);
  // The probe runs outside any lock, so another writer may come between: then look again, as long as one more
  // probe still fits into the time that a caller was promised.
  const { clock, limits } = deps;
  for (const start = clock.elapsed(); clock.elapsed() - start <= limits.setRetryMs; ) {
    const stored = await findConnection(deps.store, namespace, id);
    if (!stored) {
      refuseMock(request);
      const connection = await insertConnection(deps, namespace, id, checked);
      if (connection) return { connection, created: true };
    } else {
      const connection = await updateConnection(deps, stored, checked);
      if (connection) return { connection, created: false };
    }
  }
  throw new ApiError('conflict', { message: 'Other requests kept changing this connection.' });
}

async function updateConnection(
  deps: ConnectionsDeps,
  stored: Connection,
  checked: CheckedRequest,
): Promise<Connection | undefined> {
  const { store, keyring, sessions } = deps;
  const { uid, namespace, id } = stored;
  const mcpUrl = checked.mcpUrl ?? stored.mcpUrl;
  if (mcpUrl !== stored.mcpUrl && !suppliesInputs(stored, mcpUrl)) {
    throw new ApiError('url_mismatch', {
      message: `Connection "${id}" exists with a different mcpUrl. Leave mcpUrl out to keep it, or delete the connection first.`,
    });
  }
  const headers =
    checked.headers === undefined
      ? await unsealHeaders(keyring, namespace, uid, stored.sealedHeaders)
      : flatHeaders(checked.headers);
  const sealed_headers =
    checked.headers === undefined
      ? stored.sealedHeaders
      : await sealHeaders(keyring, namespace, uid, checked.headers);
  const isNewTarget = checked.headers !== undefined || mcpUrl !== stored.mcpUrl;
  const version = stored.targetVersion + (isNewTarget ? 1 : 0);
  const target = createTarget(uid, version, mcpUrl, headers);
  const finding = await probe(deps, target);

  const row = await store.write(async (transaction, stale) => {
    const updated = await transaction
      .updateTable('connections')
      .set({
        // Only what was given: another PUT may have changed the rest during the probe.
        ...(checked.name !== undefined && { name: checked.name }),
        ...(checked.metadata && { metadata: JSON.stringify(checked.metadata) }),
        mcp_url: mcpUrl,
        sealed_headers,
        target_version: version,
        ...findingColumns(finding, 0, deps),
      })
      .where('uid', '=', uid)
      .where('target_version', '=', stored.targetVersion)
      .returningAll()
      .executeTakeFirst();
    if (!updated) return undefined;
    if (checked.metadata) await indexMetadata(transaction, uid, namespace, checked.metadata);
    stale(staleKey(namespace, id));
    return updated;
  });
  if (!row) {
    releaseSession(sessions, target, finding);
    return undefined;
  }
  if (isNewTarget) await sessions.end(uid, version);
  adoptSession(sessions, target, finding);
  return fromRow(row);
}

/** While inputs are required the query may change, since it is where some of them go (api.md §4). */
function suppliesInputs(stored: Connection, mcpUrl: string): boolean {
  const [before, after] = [new URL(stored.mcpUrl), new URL(mcpUrl)];
  return (
    stored.status.state === 'input_required' &&
    before.origin === after.origin &&
    before.pathname === after.pathname
  );
}
