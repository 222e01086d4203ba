import { ApiError } from '../platform/errors.ts';
import { CredentialsRefused, UpstreamFault } from '../upstream/fault.ts';
import type { Connection } from './connection.ts';
import { checkConnectionId } from './connection-id.ts';
import { insertConnection } from './create.ts';
import type { CredentialedDeps, ResolvedConnection } from './credentials.ts';
import { findConnection, findConnectionByUid } from './find.ts';
import type { InputValues } from './inputs/values.ts';
import type { MetadataGuard } from './metadata-guard.ts';
import { indexMetadata } from './metadata-index.ts';
import { adoptSession, type Finding, probe, releaseSession, wasRefused } from './probe.ts';
import { type CheckedRequest, type ConnectionRequest, checkRequest, refuseMock } from './request.ts';
import { sealHeaders } from './sealed-headers.ts';
import { settle } from './settle.ts';
import { isWaiting } from './status.ts';
import { findingColumns, storeFinding } from './store-finding.ts';
import { setUplink } from './uplink/set.ts';

/**
 * Creates or updates the connection `id`. `headers` and `metadata` replace the stored value as a whole, what is
 * left out stays, and every set probes (design §8, PUT) what has an address. `created` tells 201 from 200.
 * Throws ApiError `validation_error`, `url_mismatch`, `conflict`, and what `guard` throws.
 */
export async function setConnection(
  deps: CredentialedDeps,
  namespace: string,
  id: string,
  request: ConnectionRequest,
  guard: MetadataGuard,
): Promise<{ connection: Connection; created: boolean }> {
  checkConnectionId(id, deps.limits.connectionIdChars);
  const checked = checkRequest(request, deps.limits);
  return untilStored(deps, async (attempt) => {
    const stored = await findConnection(deps.store, namespace, id);
    if (!stored) {
      refuseMock(request);
      guard.becomes(checked.metadata ?? null);
      const connection = await insertConnection(deps, namespace, id, checked);
      return connection && { connection, created: true };
    }
    guard.is(stored.metadata);
    if (checked.metadata !== undefined) guard.becomes(checked.metadata);
    requireSameTransport(stored, checked);
    if (stored.transport === 'uplink') {
      const connection = await setUplink(deps, stored, checked, guard);
      return connection && { connection, created: false };
    }
    if (checked.mcpUrl !== undefined) requireSameUrl(stored, checked.mcpUrl);
    const opened = await deps.credentials.open(stored);
    const connection = await updateConnection(deps, opened, checked, attempt, 'caller', guard);
    return connection && { connection, created: false };
  });
}

/**
 * Gives a connection the values that its user entered on the setup page: `enter` makes them of those that are stored,
 * each time somebody else has changed these meanwhile. They may be corrected in any state, and the link is used up.
 * Throws ApiError `connection_not_found`, `validation_error`, `conflict`.
 */
export async function enterInputs(
  deps: CredentialedDeps,
  uid: string,
  enter: (stored: InputValues) => InputValues,
): Promise<Connection> {
  return untilStored(deps, async (attempt) => {
    const stored = await findConnectionByUid(deps.store, uid);
    if (!stored) throw new ApiError('connection_not_found');
    const opened = await deps.credentials.open(stored);
    const entered = enter({ headers: opened.headers, mcpUrl: stored.mcpUrl });
    return updateConnection(deps, opened, checkRequest(entered, deps.limits), attempt, 'setup');
  });
}

/** What the attempts of one set know of those before. */
interface Attempt {
  /** The version of the grant that this set had renewed. */
  renewed: number | undefined;
}

/**
 * The probe of a set runs outside any lock, so another writer may come between: then it looks again, as long as one
 * more probe still fits into the time that a caller was promised.
 */
async function untilStored<T>(
  { clock, limits }: CredentialedDeps,
  tryOnce: (attempt: Attempt) => Promise<T | undefined>,
): Promise<T> {
  const attempt: Attempt = { renewed: undefined };
  const start = clock.elapsed();
  while (clock.elapsed() - start <= limits.setRetryMs) {
    const result = await tryOnce(attempt);
    if (result) return result;
  }
  throw new ApiError('conflict', { message: 'Other requests kept changing this connection.' });
}

/** undefined: the connection has changed meanwhile. */
async function updateConnection(
  deps: CredentialedDeps,
  opened: ResolvedConnection,
  checked: CheckedRequest,
  attempt: Attempt,
  by: 'caller' | 'setup',
  guard?: MetadataGuard,
): Promise<Connection | undefined> {
  const { keyring, sessions } = deps;
  const { connection: stored, grant } = opened;
  const { uid, namespace, inputs } = stored;
  const mcpUrl = checked.mcpUrl ?? stored.mcpUrl;
  const headers = checked.headers ?? opened.headers;
  const isNewTarget = checked.headers !== undefined || mcpUrl !== stored.mcpUrl;
  const version = stored.targetVersion + (isNewTarget ? 1 : 0);
  const known = stored.protocol;
  const probed = await probe(deps, {
    uid,
    version,
    namespace,
    mcpUrl,
    headers,
    inputs,
    grant,
    known,
    wasRefused: wasRefused(stored.status),
    mayRegister: true,
  });
  if (probed.fault instanceof CredentialsRefused && grant) {
    const used = attempt.renewed === undefined ? opened : { ...opened, renewed: attempt.renewed };
    try {
      // Renewed or given up, the connection has changed: look again.
      attempt.renewed = (await deps.credentials.recover(used, probed.fault))?.renewed;
      return undefined;
    } catch (error) {
      if (!(error instanceof UpstreamFault)) throw error;
    }
  }
  const finding = stillWaiting(stored, probed);
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
    guard,
    also: async (transaction) => {
      if (checked.metadata) await indexMetadata(transaction, uid, namespace, checked.metadata);
    },
  });
  if (!row) {
    releaseSession(sessions, finding);
    return undefined;
  }
  deps.circuits.reset(uid);
  if (isNewTarget) await sessions.end(uid, version);
  adoptSession(sessions, finding);
  return settle(deps, row, finding.login);
}

/** A wish for more scopes is for a tool that no probe calls: only a login fulfils it. */
function stillWaiting({ status, login }: Connection, finding: Finding): Finding {
  const isStepUp = status.state === 'auth_required' && login !== null && login.stepUps > 0;
  return isStepUp ? { ...finding, status, login, fault: undefined } : finding;
}

/** Throws ApiError `url_mismatch`: a server behind a tunnel is another upstream than one at an address. */
function requireSameTransport(stored: Connection, { transport, mcpUrl }: CheckedRequest): void {
  const wanted = transport ?? (mcpUrl === undefined ? stored.transport : 'http');
  if (wanted === stored.transport) return;
  throw new ApiError('url_mismatch', {
    message: `Connection "${stored.id}" exists with transport "${stored.transport}". Delete it first.`,
  });
}

/** Throws ApiError `url_mismatch`. While inputs are required the query may change: some of them go there (api.md §4). */
function requireSameUrl(stored: Connection, mcpUrl: string): void {
  if (mcpUrl === stored.mcpUrl) return;
  const [before, after] = [new URL(stored.mcpUrl), new URL(mcpUrl)];
  const isSamePlace = before.origin === after.origin && before.pathname === after.pathname;
  if (isSamePlace && stored.status.state === 'input_required') return;
  throw new ApiError('url_mismatch', {
    message: `Connection "${stored.id}" exists with a different mcpUrl. Leave mcpUrl out to keep it, or delete the connection first.`,
  });
}
