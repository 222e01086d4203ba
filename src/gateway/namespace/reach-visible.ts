import { ApiError } from '../../platform/errors.ts';
import { refuseWaiting } from '../answer-mcp.ts';
import type { GatewayDeps } from '../deps.ts';
import { type Caller, type ReachedConnection, type RefuseWaiting, reach } from '../reach.ts';
import type { RpcRequest } from '../rpc-request.ts';
import { withVia } from '../via-target.ts';

/** Who asks, with the Via header of what is sent upstream, and a signal that ends with the caller. */
export interface NamespaceCaller extends Caller {
  via: readonly string[];
  signal: AbortSignal;
  /** What is to go upstream; undefined while it is only looked for. */
  request: RpcRequest | undefined;
}

/**
 * Makes sure that one of the connections that the caller sees can be called, as `reach` does, with the hops that its request has come.
 * Throws ApiError `connection_not_found` for any other, and what `reach` throws.
 */
export async function reachVisible(
  deps: GatewayDeps,
  caller: NamespaceCaller,
  connectionId: string,
  refuse: RefuseWaiting,
): Promise<ReachedConnection> {
  return withVia(await reach(deps, caller, connectionId, caller.request, refuse), caller.via);
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
