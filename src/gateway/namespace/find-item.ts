import type { RpcAnswer } from '../../mcp/answer.ts';
import type { ListItem } from '../../mcp/lists.ts';
import { ApiError } from '../../platform/errors.ts';
import { refuseWaiting } from '../answer-mcp.ts';
import type { GatewayDeps } from '../deps.ts';
import { fetchList } from '../fetch-list.ts';
import { connectionOfName } from './aggregate-name.ts';
import { type ListedItem, listNamespace, nameOwn, rememberedList } from './list-items.ts';
import { type NamespaceCaller, reachVisible, whenReady } from './reach-visible.ts';

/** What is found by name. */
type NamedList = 'tools' | 'prompts';

type Found<L extends NamedList> =
  | { kind: 'found'; listed: ListedItem<L> }
  | Extract<RpcAnswer, { kind: 'error' }>;

/**
 * The tool or prompt of that name, which is found as it is listed. What is remembered answers first. Else a plain name
 * tells its connection, and no other is asked; an alias does not, so all are. A name that none has is the error −32602
 * (MCP 2025-11-25, server/tools). Throws ApiError: `mcp_authorization_required`, `mcp_input_required`, and upstream errors.
 */
export async function findByName<L extends NamedList>(
  deps: GatewayDeps,
  caller: NamespaceCaller,
  list: L,
  name: string,
): Promise<Found<L>> {
  const connectionId = connectionOfName(name);
  if (connectionId !== undefined) {
    const listed = await findInConnection(deps, caller, list, connectionId, name);
    return listed ? { kind: 'found', listed } : unknownName(list, name);
  }
  const remembered = (await rememberedList(deps, caller, list)).items.get(name);
  if (remembered) return { kind: 'found', listed: remembered };
  const { items, unavailable } = await listNamespace(deps, caller, list);
  const listed = items.get(name);
  return listed ? { kind: 'found', listed } : unknownName(list, name, unavailable.length);
}

/** The JSON-RPC error that nothing has this name. */
export function unknownName(
  list: NamedList,
  name: string,
  unavailable = 0,
): Extract<RpcAnswer, { kind: 'error' }> {
  const message = `Unknown ${list === 'tools' ? 'tool' : 'prompt'}: ${name.slice(0, 200)}`;
  const hint = ` (${unavailable} of the connections could not be listed; _meta of the list names them)`;
  return { kind: 'error', code: -32602, message: unavailable ? message + hint : message, data: undefined };
}

async function findInConnection<L extends NamedList>(
  deps: GatewayDeps,
  caller: NamespaceCaller,
  list: L,
  connectionId: string,
  name: string,
): Promise<ListedItem<L> | undefined> {
  try {
    return await whenReady(deps, caller, connectionId, async () => {
      const reached = await reachVisible(deps, caller, connectionId, refuseWaiting(deps));
      const named = (items: readonly ListItem<L>[]) => nameOwn(connectionId, list, items).get(name);
      const remembered = named(deps.listMemory.get(list, reached.target) ?? []);
      return remembered ?? named(await fetchList(deps, reached, list, caller.signal));
    });
  } catch (error) {
    // To the caller the connection is a part of the name.
    if (error instanceof ApiError && error.code === 'connection_not_found') return undefined;
    throw error;
  }
}
