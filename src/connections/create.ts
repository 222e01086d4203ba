import type { Kysely } from 'kysely';
import { lockNamespace } from '../identity/lock-namespace.ts';
import { parseSettings } from '../identity/namespace-settings.ts';
import { ApiError } from '../platform/errors.ts';
import { readableConnectionId, rowId } from '../platform/ids.ts';
import type { Limits } from '../platform/limits.ts';
import type { Tables } from '../platform/store/schema.ts';
import { isDuplicate, isMissingReference } from '../platform/store/store.ts';
import { type Connection, fromRow } from './connection.ts';
import type { CredentialedDeps } from './credentials.ts';
import { staleKey } from './deps.ts';
import type { MetadataGuard } from './metadata-guard.ts';
import { indexMetadata } from './metadata-index.ts';
import { adoptSession, type Finding, probe, releaseSession } from './probe.ts';
import { type CheckedRequest, type ConnectionRequest, checkRequest, refuseMock } from './request.ts';
import { sealHeaders } from './sealed-headers.ts';
import { settle } from './settle.ts';
import { findingColumns } from './store-finding.ts';

/** Creates a connection under a generated id. Throws ApiError `validation_error`, and what `guard` throws. */
export async function createConnection(
  deps: CredentialedDeps,
  namespace: string,
  request: ConnectionRequest,
  guard: MetadataGuard,
): Promise<Connection> {
  const checked = checkRequest(request, deps.limits);
  refuseMock(request);
  guard.becomes(checked.metadata ?? null);
  for (;;) {
    const created = await insertConnection(deps, namespace, readableConnectionId(), checked);
    if (created) return created;
  }
}

/**
 * Probes the upstream, then stores the connection with what the probe found: a row never shows a state that
 * nobody observed. An uplink is `disconnected` until a machine pairs with it. Returns undefined if the id was taken
 * meanwhile. Throws ApiError `validation_error` without a URL, `limit_reached`, `namespace_not_found` if the namespace was
 * deleted meanwhile.
 */
export async function insertConnection(
  deps: CredentialedDeps,
  namespace: string,
  id: string,
  checked: CheckedRequest,
): Promise<Connection | undefined> {
  const { store, keyring, clock, sessions } = deps;
  const isUplink = checked.transport === 'uplink';
  if (checked.mcpUrl === undefined && !isUplink) {
    throw new ApiError('validation_error', { message: 'mcpUrl: is required to create a connection.' });
  }
  // The namespace as it is now: one that is deleted and made again during the probe is another one.
  const home = await findNamespace(store.db, namespace);
  if (!home) throw new ApiError('namespace_not_found');
  await checkRoom(store.db, namespace, home.settings, deps.limits);
  const uid = rowId('con');
  const headers = checked.headers ?? {};
  const sealed_headers = await sealHeaders(keyring, namespace, uid, headers).catch((error: unknown) => {
    throw isMissingReference(error) ? new ApiError('namespace_not_found') : error;
  });
  const finding =
    checked.mcpUrl === undefined
      ? notYetPaired(clock.now())
      : await probe(deps, {
          uid,
          version: 1,
          namespace,
          mcpUrl: checked.mcpUrl,
          headers,
          inputs: null,
          grant: undefined,
          known: undefined,
          wasRefused: false,
          mayRegister: true,
        });
  const now = clock.now();
  const row = {
    uid,
    namespace,
    id,
    name: checked.name ?? id,
    transport: isUplink ? 'uplink' : 'http',
    mcp_url: checked.mcpUrl ?? null,
    metadata: checked.metadata ? JSON.stringify(checked.metadata) : null,
    sealed_headers,
    target_version: 1,
    created_at: now,
    ...findingColumns(finding, 0, deps),
  };
  try {
    const inserted = await store.write(async (transaction, stale) => {
      const still = await lockNamespace(transaction, namespace);
      if (still?.organization_id !== home.organization_id || still.created_at !== home.created_at) {
        throw new ApiError('namespace_not_found');
      }
      await checkRoom(transaction, namespace, still.settings, deps.limits);
      const inserted = await transaction
        .insertInto('connections')
        .values(row)
        .returningAll()
        .executeTakeFirstOrThrow();
      await indexMetadata(transaction, uid, namespace, checked.metadata ?? null);
      stale(staleKey(namespace, id));
      return inserted;
    });
    adoptSession(sessions, finding);
    return settle(deps, fromRow(inserted), finding.login);
  } catch (error) {
    releaseSession(sessions, finding);
    if (isDuplicate(error)) return undefined;
    if (isMissingReference(error)) throw new ApiError('namespace_not_found');
    throw error;
  }
}

/** A new uplink: there is nothing to probe until a machine pairs with it. */
function notYetPaired(at: number): Finding {
  const nothing = { learned: undefined, inputs: undefined, login: undefined, fault: undefined };
  return { status: { state: 'disconnected' }, at, ...nothing };
}

function findNamespace(db: Kysely<Tables>, name: string) {
  return db
    .selectFrom('namespaces')
    .select(['organization_id', 'created_at', 'settings'])
    .where('name', '=', name)
    .executeTakeFirst();
}

/** Throws ApiError `limit_reached` if the namespace has as many connections as it may. */
async function checkRoom(
  db: Kysely<Tables>,
  namespace: string,
  settings: string | null,
  { connectionsPerNamespace }: Limits,
): Promise<void> {
  const own = parseSettings(settings).limits.connectionsPerNamespace ?? connectionsPerNamespace;
  const most = Math.min(own, connectionsPerNamespace);
  const { count } = await db
    .selectFrom('connections')
    .select(({ fn }) => fn.countAll<number | bigint | string>().as('count'))
    .where('namespace', '=', namespace)
    .executeTakeFirstOrThrow();
  if (Number(count) < most) return;
  throw new ApiError('limit_reached', {
    message: `A namespace may have ${most} connections, and this one does.`,
  });
}
