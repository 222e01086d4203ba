import { type ListItem, type ListName, lists, type Tool } from '../mcp/lists.ts';
import { ApiError } from '../platform/errors.ts';
import { withinLimit } from '../platform/within-limit.ts';
import { callUpstream } from '../upstream/call.ts';
import { UpstreamFault } from '../upstream/fault.ts';
import { askUpstream } from './ask-upstream.ts';
import type { GatewayDeps } from './deps.ts';
import type { ReachedConnection } from './reach.ts';

const methodNotFound = -32601;

/**
 * One of the lists of a connection, asked of its server now: all pages within `timeLimitMs`, tools as the guard shows
 * them. Remembers it, and keeps the status true. It is empty where the server has no such list. `caller` ends with the
 * caller. Throws ApiError.
 */
export async function fetchList<L extends ListName>(
  deps: GatewayDeps,
  reached: ReachedConnection,
  list: L,
  caller: AbortSignal,
  timeLimitMs = deps.limits.listMs,
): Promise<readonly ListItem<L>[]> {
  return withinLimit(timeLimitMs, [caller], (signal) =>
    askUpstream(deps, reached, caller, async (current) => {
      const { items, ttlMs } = await fetchPages(deps, current, list, signal);
      deps.freshLists.keep(list, current.target, items, ttlMs);
      const shown = await show(deps, current, list, items);
      if (list === 'tools') deps.toolGuard.noteListed(current.connection);
      deps.listMemory.set(list, current.target, shown);
      return shown;
    }),
  );
}

/** The same, for who only wants to see it: what the server has given is used for as long as the server says. */
export async function freshList<L extends ListName>(
  deps: GatewayDeps,
  reached: ReachedConnection,
  list: L,
  caller: AbortSignal,
  timeLimitMs?: number,
): Promise<readonly ListItem<L>[]> {
  const kept = deps.freshLists.get(list, reached.target);
  return kept ? show(deps, reached, list, kept) : fetchList(deps, reached, list, caller, timeLimitMs);
}

async function show<L extends ListName>(
  { toolGuard }: GatewayDeps,
  { connection }: ReachedConnection,
  list: L,
  items: readonly ListItem<L>[],
): Promise<readonly ListItem<L>[]> {
  if (list !== 'tools') return items;
  return (await toolGuard.show(connection, items as readonly Tool[])) as readonly ListItem<L>[];
}

/** All pages, and how long the server says that they hold: the shortest time of a page. */

async function fetchPages<L extends ListName>(
  deps: GatewayDeps,
  { connection, target }: ReachedConnection,
  list: L,
  signal: AbortSignal,
): Promise<{ items: ListItem<L>[]; ttlMs: number }> {
  const { transport, sessions, limits } = deps;
  const { method, member, key } = lists[list];
  const items: ListItem<L>[] = [];
  let ttlMs = Number.POSITIVE_INFINITY;
  let cursor: unknown;
  for (let page = 0; page < limits.listPages && items.length < limits.listItems; page++) {
    const params = cursor === undefined ? {} : { cursor };
    const answer = await callUpstream(
      transport,
      sessions,
      target,
      connection.protocol,
      method,
      params,
      signal,
    );
    if (answer.kind === 'error') {
      // A server without the capability has none to list; any other error is not an empty list.
      if (answer.code === methodNotFound && page === 0) return { items, ttlMs: 0 };
      // What nobody promised may fail in a server that is well.
      if (list === 'tools') deps.observer.doubted(connection);
      throw new ApiError('tool_error', {
        message: `The upstream answered ${method} with JSON-RPC error ${answer.code}.`,
      });
    }
    const listed = answer.result[member];
    if (!Array.isArray(listed)) {
      throw new UpstreamFault('wrong_answer', `upstream answered ${method} without ${member}`);
    }
    items.push(...listed.filter((item): item is ListItem<L> => typeof item?.[key] === 'string'));
    const { nextCursor, ttlMs: given } = answer.result;
    ttlMs = Math.min(ttlMs, typeof given === 'number' ? given : 0);
    cursor = nextCursor;
    if (typeof cursor !== 'string' || cursor === '') return { items, ttlMs };
  }
  throw new UpstreamFault(
    'wrong_answer',
    `upstream lists more than ${limits.listPages} pages or ${limits.listItems} ${member}`,
  );
}
