import type { Connection } from '../../connections/connection.ts';
import { isWaiting } from '../../connections/status.ts';
import { ApiError } from '../../platform/errors.ts';
import { refuseWaitingTools } from '../ask-upstream.ts';
import type { GatewayDeps } from '../deps.ts';
import { fetchTools } from '../list-tools.ts';
import type { Tool } from '../tool-memory.ts';
import { nameTools, type ToolAddress } from './aggregate-name.ts';
import { type NamespaceCaller, reachVisible, visibleConnections } from './visible-connections.ts';

/** A connection that has not told its tools, and why: a code of the table of errors, or `too_many_tools`. */
interface Unavailable {
  connectionId: string;
  error: string;
  message: string;
}

/** A tool, and its definition as its server gives it. */
export interface ListedTool extends ToolAddress {
  definition: Tool;
}

export interface NamespaceTools {
  /** By name, in a stable order: connections oldest first, tools as their server lists them. */
  tools: Map<string, ListedTool>;
  unavailable: Unavailable[];
}

/**
 * The tools of every connection of a namespace, asked at once, within `namespaceEndpointMs` all together. Of an
 * upstream that takes longer the tools remembered from its last listing are given, and its connection is named among
 * the unavailable all the same; its answer is waited for in the background, for the next time. Connections that wait
 * for their user are not called. Throws only what the store throws.
 */
export async function listNamespaceTools(
  deps: GatewayDeps,
  caller: NamespaceCaller,
): Promise<NamespaceTools> {
  const connections = await visibleConnections(deps, caller);
  const deadline = startDeadline(deps.limits.namespaceEndpointMs);
  try {
    const listings: Listing[] = [];
    const queue = connections.entries();
    const workers = Array.from({ length: deps.limits.namespaceListConcurrency }, async () => {
      for (const [index, connection] of queue) {
        listings[index] = await listConnection(deps, connection, caller, deadline);
      }
    });
    await Promise.all(workers);
    return join(listings, deps.limits.namespaceTools);
  } finally {
    deadline.cancel();
  }
}

/** What is remembered of the listings of a namespace's connections; asks no upstream. */
export async function rememberedTools(deps: GatewayDeps, caller: NamespaceCaller): Promise<NamespaceTools> {
  const listings: Listing[] = [];
  for (const connection of await visibleConnections(deps, caller)) {
    listings.push({ connection, tools: await remembered(deps, connection), problem: undefined });
  }
  return join(listings, Number.POSITIVE_INFINITY);
}

/** `_meta` that names the connections; nothing where none is missing. */
export function unavailableMeta(unavailable: readonly Unavailable[]): Record<string, unknown> {
  return unavailable.length > 0 ? { _meta: { 'patchbay/unavailable': unavailable } } : {};
}

interface Listing {
  connection: Connection;
  tools: readonly Tool[];
  problem: ApiError | undefined;
}

async function listConnection(
  deps: GatewayDeps,
  connection: Connection,
  caller: NamespaceCaller,
  deadline: Deadline,
): Promise<Listing> {
  const { status } = connection;
  if (isWaiting(status)) {
    return { connection, tools: [], problem: refuseWaitingTools(deps)(connection, status) };
  }
  try {
    if (deadline.isPassed()) throw new ApiError('upstream_timeout');
    const tools = await Promise.race([askConnection(deps, connection, caller), deadline.passed]);
    return { connection, tools, problem: undefined };
  } catch (error) {
    if (!(error instanceof ApiError)) {
      deps.log.error({ err: error, connection: connection.uid }, 'tools could not be listed');
      return { connection, tools: [], problem: new ApiError('internal_error') };
    }
    if (error.code !== 'upstream_timeout') return { connection, tools: [], problem: error };
    return { connection, tools: await remembered(deps, connection), problem: error };
  }
}

async function askConnection(
  deps: GatewayDeps,
  { id }: Connection,
  caller: NamespaceCaller,
): Promise<readonly Tool[]> {
  const reached = await reachVisible(deps, caller, id, refuseWaitingTools(deps));
  return fetchTools(deps, reached, caller.signal);
}

async function remembered(deps: GatewayDeps, { uid, namespace, id }: Connection): Promise<readonly Tool[]> {
  try {
    const resolved = await deps.resolver.resolve(namespace, id);
    return (resolved && deps.toolMemory.get(resolved.target)) ?? [];
  } catch (error) {
    // One connection whose credentials do not open must not hide the others.
    deps.log.error({ err: error, connection: uid }, 'a connection could not be opened');
    return [];
  }
}

interface Deadline {
  isPassed: () => boolean;
  /** Rejects with ApiError `upstream_timeout`. */
  passed: Promise<never>;
  cancel: () => void;
}

/** One for all connections, so that many dead ones cost no more than one. */
function startDeadline(ms: number): Deadline {
  const { promise, reject } = Promise.withResolvers<never>();
  let isPassed = false;
  const timer = setTimeout(() => {
    isPassed = true;
    reject(new ApiError('upstream_timeout'));
  }, ms);
  // While the store is read, or where no connection can be asked, nobody awaits it.
  promise.catch(() => {});
  return { isPassed: () => isPassed, passed: promise, cancel: () => clearTimeout(timer) };
}

/** A connection whose tools no longer fit in `maxTools` is left out as a whole, and named. */
function join(listings: readonly Listing[], maxTools: number): NamespaceTools {
  const listed: ListedTool[] = [];
  const unavailable: Unavailable[] = [];
  for (const { connection, tools, problem } of listings) {
    const connectionId = connection.id;
    if (problem) unavailable.push({ connectionId, error: problem.code, message: problem.message });
    if (listed.length + tools.length > maxTools) {
      const message = `Its ${tools.length} tools do not fit: this endpoint lists at most ${maxTools}.`;
      unavailable.push({ connectionId, error: 'too_many_tools', message });
      continue;
    }
    for (const definition of tools) listed.push({ connectionId, tool: definition.name, definition });
  }
  return { tools: nameTools(listed), unavailable };
}
