import type { Connection } from '../../connections/connection.ts';
import { isWaiting } from '../../connections/status.ts';
import { type ListItem, type ListName, lists } from '../../mcp/lists.ts';
import { ApiError } from '../../platform/errors.ts';
import { refuseWaitingTools } from '../ask-upstream.ts';
import type { GatewayDeps } from '../deps.ts';
import { freshList } from '../fetch-list.ts';
import { quarantinedKey } from '../tool-guard.ts';
import { visibleConnections } from '../visible-connections.ts';
import { type Address, aggregateName, nameEntries } from './aggregate-name.ts';
import { type NamespaceCaller, reachVisible } from './reach-visible.ts';
import { namespaceUri } from './resource-uri.ts';

/** A connection that has not told its items, and why: a code of the table of errors, or `too_many_items`. */
interface Unavailable {
  connectionId: string;
  error: string;
  message: string;
}

/** A tool, prompt, resource or template, and its definition as its server gives it. */
export interface ListedItem<L extends ListName> extends Address {
  definition: ListItem<L>;
}

export interface NamespaceList<L extends ListName> {
  /** By name in the namespace, in a stable order: connections oldest first, items as their server lists them. */
  items: Map<string, ListedItem<L>>;
  unavailable: Unavailable[];
  /** The tools that quarantine leaves out, as their servers call them. */
  quarantined: { connectionId: string; tools: readonly string[] }[];
}

/** How each list names what is in it. */
const nameOf = {
  tools: aggregateName,
  prompts: aggregateName,
  resources: namespaceUri,
  resourceTemplates: namespaceUri,
} satisfies Record<ListName, typeof aggregateName | typeof namespaceUri>;

/**
 * One list of every connection that the caller may see, and may send its `request` to, asked at once, within
 * `namespaceEndpointMs` all together. Of an upstream that takes longer the items remembered from its last listing are given, and its connection is named among
 * the unavailable all the same; its answer is waited for in the background, for the next time. Connections that wait
 * for their user are not called. Throws only what the store throws.
 */
export async function listNamespace<L extends ListName>(
  deps: GatewayDeps,
  caller: NamespaceCaller,
  list: L,
): Promise<NamespaceList<L>> {
  const connections = await visibleConnections(deps, caller, caller.request);
  const deadline = startDeadline(deps.limits.namespaceEndpointMs);
  try {
    const listings: Listing<L>[] = [];
    const queue = connections.entries();
    const workers = Array.from({ length: deps.limits.namespaceListConcurrency }, async () => {
      for (const [index, connection] of queue) {
        listings[index] = await listConnection(deps, connection, caller, list, deadline);
      }
    });
    await Promise.all(workers);
    return join(list, listings, deps.limits.namespaceItems);
  } finally {
    deadline.cancel();
  }
}

/** What is remembered of the listings of the connections that the caller may see; asks no upstream. */
export async function rememberedList<L extends ListName>(
  deps: GatewayDeps,
  caller: NamespaceCaller,
  list: L,
): Promise<NamespaceList<L>> {
  const listings: Listing<L>[] = [];
  for (const connection of await visibleConnections(deps, caller, caller.request)) {
    const items = await remembered(deps, connection, list);
    listings.push({ connection, items, problem: undefined, quarantined: [] });
  }
  return join(list, listings, Number.POSITIVE_INFINITY);
}

/** The items of one connection by their names in the namespace, as they are in the whole list. */
export function nameOwn<L extends ListName>(
  connectionId: string,
  list: L,
  items: readonly ListItem<L>[],
): Map<string, ListedItem<L>> {
  return nameEntries(listed(connectionId, list, items), nameOf[list]);
}

/** `_meta` that names what is missing in a list; nothing where nothing is. */
export function missingMeta({
  unavailable,
  quarantined,
}: Pick<NamespaceList<ListName>, 'unavailable' | 'quarantined'>): Record<string, unknown> {
  if (unavailable.length + quarantined.length === 0) return {};
  return {
    _meta: {
      ...(unavailable.length > 0 && { 'patchbay/unavailable': unavailable }),
      ...(quarantined.length > 0 && { [quarantinedKey]: quarantined }),
    },
  };
}

interface Listing<L extends ListName> {
  connection: Connection;
  items: readonly ListItem<L>[];
  problem: ApiError | undefined;
  quarantined: readonly string[];
}

async function listConnection<L extends ListName>(
  deps: GatewayDeps,
  connection: Connection,
  caller: NamespaceCaller,
  list: L,
  deadline: Deadline,
): Promise<Listing<L>> {
  const { status } = connection;
  if (isWaiting(status)) {
    const problem = refuseWaitingTools(deps)(connection, status);
    return { connection, items: [], problem, quarantined: [] };
  }
  try {
    if (deadline.isPassed()) throw new ApiError('upstream_timeout');
    const items = await Promise.race([askForList(deps, connection, caller, list), deadline.passed]);
    const quarantined = list === 'tools' ? await deps.toolGuard.quarantined(connection) : [];
    return { connection, items, problem: undefined, quarantined };
  } catch (error) {
    if (!(error instanceof ApiError)) {
      deps.log.error({ err: error, connection: connection.uid }, 'a connection could not be listed');
      return { connection, items: [], problem: new ApiError('internal_error'), quarantined: [] };
    }
    const items = error.code === 'upstream_timeout' ? await remembered(deps, connection, list) : [];
    return { connection, items, problem: error, quarantined: [] };
  }
}

async function askForList<L extends ListName>(
  deps: GatewayDeps,
  { id }: Connection,
  caller: NamespaceCaller,
  list: L,
): Promise<readonly ListItem<L>[]> {
  const reached = await reachVisible(deps, caller, id, refuseWaitingTools(deps));
  return freshList(deps, reached, list, caller.signal);
}

async function remembered<L extends ListName>(
  deps: GatewayDeps,
  { uid, namespace, id }: Connection,
  list: L,
): Promise<readonly ListItem<L>[]> {
  try {
    const resolved = await deps.resolver.resolve(namespace, id);
    return (resolved && deps.listMemory.get(list, resolved.target)) ?? [];
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

/** A connection whose items no longer fit in `maxItems` is left out as a whole, and named. */
function join<L extends ListName>(
  list: L,
  listings: readonly Listing<L>[],
  maxItems: number,
): NamespaceList<L> {
  const entries: ListedItem<L>[] = [];
  const unavailable: Unavailable[] = [];
  const quarantined: NamespaceList<L>['quarantined'] = [];
  for (const { connection, items, problem, quarantined: tools } of listings) {
    const connectionId = connection.id;
    if (tools.length > 0) quarantined.push({ connectionId, tools });
    if (problem) unavailable.push({ connectionId, error: problem.code, message: problem.message });
    if (entries.length + items.length > maxItems) {
      const message = `Its ${items.length} ${lists[list].member} do not fit: this endpoint lists at most ${maxItems}.`;
      unavailable.push({ connectionId, error: 'too_many_items', message });
      continue;
    }
    for (const item of listed(connectionId, list, items)) entries.push(item);
  }
  return { items: nameEntries(entries, nameOf[list]), unavailable, quarantined };
}

function listed<L extends ListName>(
  connectionId: string,
  list: L,
  items: readonly ListItem<L>[],
): ListedItem<L>[] {
  const key: (typeof lists)[L]['key'] = lists[list].key;
  return items.map((definition) => ({ connectionId, own: definition[key], definition }));
}
