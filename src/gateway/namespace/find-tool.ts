import type { RpcAnswer } from '../../mcp/answer.ts';
import { ApiError } from '../../platform/errors.ts';
import { refuseWaiting } from '../answer-mcp.ts';
import type { GatewayDeps } from '../deps.ts';
import { fetchTools } from '../list-tools.ts';
import type { Tool } from '../tool-memory.ts';
import { connectionOfName, nameTools } from './aggregate-name.ts';
import { type ListedTool, listNamespaceTools, rememberedTools } from './list-tools.ts';
import { type NamespaceCaller, reachVisible, whenReady } from './visible-connections.ts';

/** A tool, or the JSON-RPC error that there is none. */
type Found = { kind: 'tool'; listed: ListedTool } | Extract<RpcAnswer, { kind: 'error' }>;

/**
 * The tool of that name, which is found as it is listed. What is remembered answers first. Else a plain name tells its
 * connection, and no other is asked; an alias does not, so all are. A name that no tool has is the error −32602 (MCP
 * 2025-11-25, server/tools). Throws ApiError: `mcp_authorization_required`, `mcp_input_required`, and upstream errors.
 */
export async function findNamespaceTool(
  deps: GatewayDeps,
  caller: NamespaceCaller,
  name: string,
): Promise<Found> {
  const connectionId = connectionOfName(name);
  if (connectionId !== undefined) {
    const listed = await findInConnection(deps, caller, connectionId, name);
    return listed ? { kind: 'tool', listed } : unknownTool(name);
  }
  const remembered = (await rememberedTools(deps, caller)).tools.get(name);
  if (remembered) return { kind: 'tool', listed: remembered };
  const { tools, unavailable } = await listNamespaceTools(deps, caller);
  const listed = tools.get(name);
  return listed ? { kind: 'tool', listed } : unknownTool(name, unavailable.length);
}

async function findInConnection(
  deps: GatewayDeps,
  caller: NamespaceCaller,
  connectionId: string,
  name: string,
): Promise<ListedTool | undefined> {
  try {
    return await whenReady(deps, caller, connectionId, async () => {
      const reached = await reachVisible(deps, caller, connectionId, refuseWaiting(deps));
      const named = (tools: readonly Tool[]) =>
        nameTools(tools.map((definition) => ({ connectionId, tool: definition.name, definition }))).get(name);
      const remembered = named(deps.toolMemory.get(reached.target) ?? []);
      return remembered ?? named(await fetchTools(deps, reached, caller.signal));
    });
  } catch (error) {
    // To the caller the connection is a part of the tool's name.
    if (error instanceof ApiError && error.code === 'connection_not_found') return undefined;
    throw error;
  }
}

/** The JSON-RPC error that there is no such tool, for all that is known of the namespace. */
export function unknownTool(name: string, unavailable = 0): Extract<RpcAnswer, { kind: 'error' }> {
  const message = `Unknown tool: ${name.slice(0, 200)}`;
  const hint = ` (${unavailable} of the connections could not be listed; _meta of a list or search names them)`;
  return { kind: 'error', code: -32602, message: unavailable ? message + hint : message, data: undefined };
}
