import { type Connection, presentStatus } from '../connections/connection.ts';
import { isWaiting, type Status } from '../connections/status.ts';
import type { Tool } from '../mcp/lists.ts';
import { ApiError } from '../platform/errors.ts';
import { UpstreamFault } from '../upstream/fault.ts';
import { refuseWaitingTools } from './ask-upstream.ts';
import type { GatewayDeps } from './deps.ts';
import { freshList } from './fetch-list.ts';
import { type Caller, reach } from './reach.ts';
import { listRequest } from './rpc-request.ts';
import { visibleConnections } from './visible-connections.ts';

/** What one connection contributes; `error` instead of `tools` if it has none to show (design §8, Lists). */
export interface ToolsEnvelope {
  status: Status;
  tools?: readonly Tool[];
  /** Names the tools that quarantine leaves out, and says if the instructions have changed. */
  _meta?: unknown;
  error?: { error: string; message: string };
}

/**
 * The tools of every connection of a namespace whose tools the caller may list, asked at once: each upstream has its own
 * time limit, so a dead one costs that and no more, and is named with its error. Connections that wait for their user are not called.
 */
export async function listNamespaceTools(
  deps: GatewayDeps,
  caller: Caller,
  signal: AbortSignal,
): Promise<Record<string, ToolsEnvelope>> {
  const connections = await visibleConnections(deps, caller, listRequest('tools'));
  const envelopes: [string, ToolsEnvelope][] = [];
  const queue = connections.entries();
  const workers = Array.from({ length: deps.limits.namespaceListConcurrency }, async () => {
    for (const [index, connection] of queue) {
      envelopes[index] = [connection.id, await envelope(deps, connection, caller, signal)];
    }
  });
  await Promise.all(workers);
  return Object.fromEntries(envelopes);
}

async function envelope(
  deps: GatewayDeps,
  connection: Connection,
  caller: Caller,
  signal: AbortSignal,
): Promise<ToolsEnvelope> {
  const { status } = connection;
  if (isWaiting(status)) {
    const error = errorBody(refuseWaitingTools(deps)(connection, status));
    return { status: presentStatus(connection, deps.setupUrl), error };
  }
  const expiry = startExpiry(deps.limits.namespaceListMs);
  try {
    const tools = await Promise.race([listOne(deps, connection, caller, signal), expiry.reached]);
    const meta = await deps.toolGuard.listMeta(connection);
    return { status: { state: 'connected' }, tools, ...meta };
  } catch (error) {
    if (error instanceof ApiError) {
      return { status: await statusAfter(deps, connection, error), error: errorBody(error) };
    }
    deps.log.error(
      { err: error, connection: connection.uid },
      'the tools of a connection could not be listed',
    );
    return { status, error: errorBody(new ApiError('internal_error')) };
  } finally {
    expiry.cancel();
  }
}

async function listOne(
  deps: GatewayDeps,
  { id }: Connection,
  caller: Caller,
  signal: AbortSignal,
): Promise<readonly Tool[]> {
  const reached = await reach(deps, caller, id, listRequest('tools'), refuseWaitingTools(deps));
  return freshList(deps, reached, 'tools', signal, deps.limits.namespaceListMs);
}

/** Also covers what comes before the listing: a connection that never answered is probed first. */
function startExpiry(ms: number): { reached: Promise<never>; cancel: () => void } {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new ApiError('upstream_timeout')), ms);
  return { reached: promise, cancel: () => clearTimeout(timer) };
}

/** The state that the failed listing has found: as stored, or as the observer stores it at once or a moment later. */
async function statusAfter(
  deps: GatewayDeps,
  { namespace, id, status }: Connection,
  error: ApiError,
): Promise<Status> {
  if (error.code === 'auth_required' || error.code === 'input_required') {
    const current = await deps.resolver.find(namespace, id);
    return current ? presentStatus(current, deps.setupUrl) : status;
  }
  const decisive = error.cause instanceof UpstreamFault && error.cause.decisive;
  return decisive ? { state: 'error', message: error.message } : status;
}

function errorBody(error: ApiError): { error: string; message: string } {
  return { error: error.code, message: error.message };
}
