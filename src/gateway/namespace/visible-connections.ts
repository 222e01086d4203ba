import type { Connection } from '../../connections/connection.ts';
import { allConnections } from '../../connections/list.ts';
import { ApiError } from '../../platform/errors.ts';
import { refuseWaiting } from '../answer-mcp.ts';
import type { GatewayDeps } from '../deps.ts';
import { type ReachedConnection, type RefuseWaiting, reach } from '../reach.ts';
import { withVia } from '../via-target.ts';

/** Who asks: the namespace, the Via header of what is sent upstream, and a signal that ends with the caller. */
export interface NamespaceCaller {
  namespace: string;
  via: readonly string[];
  signal: AbortSignal;
}

/** The connections of the namespace that the caller may see, oldest first. */
export async function visibleConnections(
  deps: GatewayDeps,
  { namespace }: NamespaceCaller,
): Promise<Connection[]> {
  const connections: Connection[] = [];
  for await (const connection of allConnections(deps.store, namespace, deps.limits.connectionsPage)) {
    connections.push(connection);
  }
  return connections;
}

/**
 * Makes sure that one of these connections can be called, with the hops that the caller's request has come. Throws
 * ApiError `connection_not_found` for any other, and what `reach` throws.
 */
export async function reachVisible(
  deps: GatewayDeps,
  { namespace, via }: NamespaceCaller,
  connectionId: string,
  refuse: RefuseWaiting,
): Promise<ReachedConnection> {
  return withVia(await reach(deps, namespace, connectionId, refuse), via);
}

/**
 * Runs `work`, which asks the upstream of a connection. That may show that the connection waits for its user; then the
 * answer is as if it had before.
 */
export async function whenReady<T>(
  deps: GatewayDeps,
  caller: NamespaceCaller,
  connectionId: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const waits = error instanceof ApiError && ['auth_required', 'input_required'].includes(error.code);
    if (waits) await reachVisible(deps, caller, connectionId, refuseWaiting(deps));
    throw error;
  }
}
