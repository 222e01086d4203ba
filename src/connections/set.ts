import { ApiError } from '../platform/errors.ts';
import { CredentialsRefused, UpstreamFault } from '../upstream/fault.ts';
import type { Connection } from './connection.ts';
import { checkConnectionId } from './connection-id.ts';
import { insertConnection } from './create.ts';
import type { CredentialedDeps } from './credentials.ts';
import { findConnection } from './find.ts';
import { indexMetadata } from './metadata-index.ts';
import { adoptSession, probe, releaseSession } from './probe.ts';
import { type CheckedRequest, type ConnectionRequest, checkRequest, refuseMock } from './request.ts';
import { sealHeaders } from './sealed-headers.ts';
import { settle } from './settle.ts';
import { isWaiting } from './status.ts';
import { findingColumns, storeFinding } from './store-finding.ts';

/**
 * Creates or updates the connection `id`. `headers` and `metadata` replace the stored value as a whole, what is
 * left out stays, and every set probes (design §8, PUT). `created` tells 201 from 200. `by` is `setup` where the user
 * of the connection enters values on the setup page: they may correct those in the query, and are done with the link.
 * Throws ApiError `validation_error`, `url_mismatch`, `conflict`.
 */
export async function setConnection(
  deps: CredentialedDeps,
  namespace: string,
  id: string,
  request: ConnectionRequest,
  by: 'caller' | 'setup' = 'caller',
): Promise<{ connection: Connection; created: boolean }> {
  checkConnectionId(id, deps.limits.connectionIdChars);
  const checked = checkRequest(request, deps.limits);
  // The probe runs outside any lock, so another writer may come between: then look again, as long as one more
  // probe still fits into the time that a caller was promised.
  const { clock, limits } = deps;
  const start = clock.elapsed();
  for (let attempt = 0; clock.elapsed() - start <= limits.setRetryMs; attempt++) {
    const stored = await findConnection(deps.store, namespace, id);
    if (!stored) {
      refuseMock(request);
      const connection = await insertConnection(deps, namespace, id, checked);
      if (connection) return { connection, created: true };
    } else {
      const connection = await updateConnection(deps, stored, checked, by, attempt > 0);
      if (connection) return { connection, created: false };
    }
  }
  throw new ApiError('conflict', { message: 'Other requests kept changing this connection.' });
}

async function updateConnection(
  deps: CredentialedDeps,
  stored: Connection,
  checked: CheckedRequest,
  by: 'caller' | 'setup',
  isAgain: boolean,
): Promise<Connection | undefined> {
  const { keyring, sessions } = deps;
  const { uid, namespace, id } = stored;
  const mcpUrl = checked.mcpUrl ?? stored.mcpUrl;
  if (mcpUrl !== stored.mcpUrl && !(isSamePlace(stored, mcpUrl) && (by === 'setup' || needsInput(stored)))) {
    throw new ApiError('url_mismatch', {
      message: `Connection "${id}" exists with a different mcpUrl. Leave mcpUrl out to keep it, or delete the connection first.`,
    });
  }
  const opened = await deps.credentials.open(stored);
  const headers = checked.headers ?? opened.headers;
  const isNewTarget = checked.headers !== undefined || mcpUrl !== stored.mcpUrl;
  const version = stored.targetVersion + (isNewTarget ? 1 : 0);
  const { inputs } = stored;
  const subject = { uid, version, namespace, mcpUrl, headers, inputs, grant: opened.grant };
  const finding = await probe(deps, subject);
  if (finding.fault instanceof CredentialsRefused && opened.grant) {
    // Renewed or given up, the connection has changed: look again.
    const again = await deps.credentials
      .recover(opened, finding.fault, isAgain)
      .catch((error: unknown) => error);
    if (again !== finding.fault && !(again instanceof UpstreamFault)) return undefined;
  }
  const found = { status: finding.status, columns: findingColumns(finding, 0, deps) };
  const row = await storeFinding(deps, stored, found, {
    unlessNewer: false,
    columns: {
      // Only what was given: another PUT may have changed the rest during the probe.
      ...(checked.name !== undefined && { name: checked.name }),
      ...(checked.metadata && { metadata: JSON.stringify(checked.metadata) }),
      mcp_url: mcpUrl,
      ...(checked.headers && { sealed_headers: await sealHeaders(keyring, namespace, uid, checked.headers) }),
      target_version: version,
      ...(by === 'setup' && !isWaiting(finding.status) && { setup_epoch: stored.setupEpoch + 1 }),
    },
    also: async (transaction) => {
      if (checked.metadata) await indexMetadata(transaction, uid, namespace, checked.metadata);
    },
  });
  if (!row) {
    releaseSession(sessions, finding);
    return undefined;
  }
  if (isNewTarget) await sessions.end(uid, version);
  adoptSession(sessions, finding);
  return settle(deps, row, finding.login);
}

/** While inputs are required the query may change, since it is where some of them go (api.md §4). */
function needsInput({ status }: Connection): boolean {
  return status.state === 'input_required';
}

/** Whether two URLs differ in the query alone. */
function isSamePlace(stored: Connection, mcpUrl: string): boolean {
  const [before, after] = [new URL(stored.mcpUrl), new URL(mcpUrl)];
  return before.origin === after.origin && before.pathname === after.pathname;
}
