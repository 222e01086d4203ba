import type { Connection } from '../connections/connection.ts';
import { maxRecoveries, type ResolvedConnection } from '../connections/credentials.ts';
import type { Resolver } from '../connections/resolve.ts';
import { isWaiting, type WaitingStatus } from '../connections/status.ts';
import { connectionRefusal } from '../identity/permits.ts';
import type { Principal } from '../identity/principal.ts';
import type { Usage } from '../identity/quotas.ts';
import { ApiError } from '../platform/errors.ts';
import { type CredentialsRefused, UpstreamFault } from '../upstream/fault.ts';
import type { Protocol } from '../upstream/negotiate.ts';
import { UplinkOffline } from '../upstream/uplink/faults.ts';
import type { GatewayDeps } from './deps.ts';
import type { RpcRequest } from './rpc-request.ts';

/** A connection that can be called: it needs nothing from its user, and what its upstream speaks is known. */
export interface ReachedConnection extends ResolvedConnection {
  connection: Connection & { protocol: Protocol };
}

/** Who calls, in which namespace, and what the request uses up. */
export interface Caller {
  principal: Principal;
  namespace: string;
  usage: Usage;
}

/** The error that tells a caller that the connection waits for its user. */
export type RefuseWaiting = (connection: Connection, status: WaitingStatus) => ApiError;

/**
 * Finds a connection and makes sure that the caller may execute `request` there, and that it can be called; undefined is
 * for what sends nothing of the caller's. One that never answered a probe is probed now, but for an uplink without a tunnel.
 * Throws ApiError: `connection_not_found`, `forbidden`, `too_many_requests`, `too_many_calls`, `uplink_offline`, what `refuse` makes of a status that waits for the user,
 * `upstream_failed` with the stored message if it still does not answer.
 */
export function reach(
  deps: GatewayDeps,
  caller: Caller,
  id: string,
  request: RpcRequest | undefined,
  refuse: RefuseWaiting,
): ReachedConnection | Promise<ReachedConnection> {
  const found = deps.resolver.resolve(caller.namespace, id);
  if (found && !(found instanceof Promise) && found.connection.protocol && !isRenewalDue(deps, found)) {
    requireExecute(caller, found, request);
    if (request) caller.usage.call(found.connection.uid);
    relearn(deps, found.connection);
    return ready(found, refuse);
  }
  return reachSlowly(deps, caller, id, found, request, refuse);
}

/**
 * What to call after the upstream refused the credentials of `used`: the same with a renewed token. `recoveries` counts
 * how often this was done for the call before. Keeps the status true.
 * Throws ApiError: what `refuse` makes of a connection that waits for its user now, else the refusal.
 */
export async function recover(
  deps: GatewayDeps,
  used: ReachedConnection,
  refusal: CredentialsRefused,
  refuse: RefuseWaiting,
  recoveries: number,
): Promise<ReachedConnection> {
  const { connection } = used;
  // A refusal is an answer.
  deps.circuits.succeeded(connection.uid);
  const again = await withTruth(deps, connection, () => deps.credentials.recover(used, refusal));
  if (!again) return refuseCurrent(deps, connection, refuse);
  if (recoveries >= maxRecoveries) throw refusal.toApiError();
  return again as ReachedConnection;
}

async function reachSlowly(
  deps: GatewayDeps,
  caller: Caller,
  id: string,
  finding: ReturnType<Resolver['resolve']>,
  request: RpcRequest | undefined,
  refuse: RefuseWaiting,
): Promise<ReachedConnection> {
  const found = await finding;
  if (!found) throw new ApiError('connection_not_found');
  requireExecute(caller, found, request);
  if (request) caller.usage.call(found.connection.uid);
  requireReady(found, refuse);
  const { connection } = found;
  if (connection.protocol) {
    if (!isRenewalDue(deps, found)) return found as ReachedConnection;
    const fresh = await withTruth(deps, connection, () => deps.credentials.openFresh(connection));
    return fresh ? ready(fresh, refuse) : refuseCurrent(deps, connection, refuse);
  }
  if (connection.transport === 'uplink') throw new UplinkOffline().toApiError();
  deps.circuits.enter(found.target, found);
  await deps.healer.probeNow(connection);
  const probed = await deps.resolver.resolve(caller.namespace, id);
  if (!probed) throw new ApiError('connection_not_found');
  requireExecute(caller, probed, request);
  if (probed.connection.protocol) return ready(probed, refuse);
  requireReady(probed, refuse);
  const { status } = probed.connection;
  throw new ApiError('upstream_failed', status.state === 'error' ? { message: status.message } : {});
}

/**
 * A verdict on the era goes stale without anyone noticing: a server of both eras answers whom it would serve better by
 * now (mcp.md §4). The call does not wait for the probe.
 */
function relearn({ clock, limits, observer }: GatewayDeps, connection: Connection): void {
  const { protocol, status } = connection;
  if (status.state !== 'connected' || !protocol) return;
  if (clock.now() - (protocol.learnedAt ?? 0) > limits.eraMaxAgeMs) observer.doubted(connection);
}

function isRenewalDue({ clock }: GatewayDeps, { renewAt }: ResolvedConnection): boolean {
  return renewAt !== undefined && clock.now() >= renewAt;
}

/** Tells the observer of a fault, and throws it as the caller is to see it. */
async function withTruth<T>(deps: GatewayDeps, connection: Connection, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof UpstreamFault)) throw error;
    // Renewing a token asks the authorization server, which is not the upstream.
    deps.observer.failed(connection, error.notOnTheWay());
    throw error.toApiError();
  }
}

async function refuseCurrent(
  deps: GatewayDeps,
  { namespace, id }: Connection,
  refuse: RefuseWaiting,
): Promise<never> {
  const current = await deps.resolver.resolve(namespace, id);
  if (!current) throw new ApiError('connection_not_found');
  requireReady(current, refuse);
  throw new ApiError('upstream_refused_credentials');
}

function ready(found: ResolvedConnection, refuse: RefuseWaiting): ReachedConnection {
  requireReady(found, refuse);
  return found as ReachedConnection;
}

function requireExecute(
  { principal, namespace }: Caller,
  { connection }: ResolvedConnection,
  request: RpcRequest | undefined,
): void {
  const { metadata } = connection;
  const refusal = connectionRefusal(principal, 'connections:execute', namespace, metadata, request);
  if (refusal) throw refusal;
}

function requireReady({ connection }: ResolvedConnection, refuse: RefuseWaiting): void {
  if (isWaiting(connection.status)) throw refuse(connection, connection.status);
}
