import type { Connection } from '../connections/connection.ts';
import type { ResolvedConnection, Resolver } from '../connections/resolve.ts';
import type { Status } from '../connections/status.ts';
import { ApiError } from '../platform/errors.ts';
import type { Protocol } from '../upstream/negotiate.ts';
import type { GatewayDeps } from './deps.ts';

/** A connection that can be called: it needs nothing from its user, and what its upstream speaks is known. */
export interface ReachedConnection extends ResolvedConnection {
  connection: Connection & { protocol: Protocol };
}

/** A status in which the user of the connection must act first. */
export type UnreadyStatus = Extract<Status, { state: 'auth_required' | 'input_required' }>;

/**
 * Finds a connection and makes sure that it can be called. One that never answered a probe is probed now.
 * Throws ApiError: `connection_not_found`, what `refuse` makes of a status that waits for the user,
 * `upstream_failed` with the stored message if it still does not answer.
 */
export function reach(
  deps: GatewayDeps,
  namespace: string,
  id: string,
  refuse: (status: UnreadyStatus) => ApiError,
): ReachedConnection | Promise<ReachedConnection> {
  const found = deps.resolver.resolve(namespace, id);
  if (found && !(found instanceof Promise) && found.connection.protocol) return ready(found, refuse);
  return reachSlowly(deps, namespace, id, found, refuse);
}

async function reachSlowly(
  deps: GatewayDeps,
  namespace: string,
  id: string,
  finding: ReturnType<Resolver['resolve']>,
  refuse: (status: UnreadyStatus) => ApiError,
): Promise<ReachedConnection> {
  const found = await finding;
  if (!found) throw new ApiError('connection_not_found');
  if (found.connection.protocol) return ready(found, refuse);
  requireReady(found, refuse);
  await deps.healer.probeNow(found.connection);
  const probed = await deps.resolver.resolve(namespace, id);
  if (!probed) throw new ApiError('connection_not_found');
  if (probed.connection.protocol) return ready(probed, refuse);
  const { status } = probed.connection;
  throw new ApiError('upstream_failed', status.state === 'error' ? { message: status.message } : {});
}

function ready(found: ResolvedConnection, refuse: (status: UnreadyStatus) => ApiError): ReachedConnection {
  requireReady(found, refuse);
  return found as ReachedConnection;
}

function requireReady(
  { connection: { status } }: ResolvedConnection,
  refuse: (status: UnreadyStatus) => ApiError,
): void {
  if (isUnready(status)) throw refuse(status);
}

/** Whether the connection waits for its user; then its upstream is not called. */
export function isUnready(status: Status): status is UnreadyStatus {
  return status.state === 'auth_required' || status.state === 'input_required';
}
