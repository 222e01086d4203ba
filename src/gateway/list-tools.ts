import type { Tool } from '../mcp/lists.ts';
import { refuseWaitingTools } from './ask-upstream.ts';
import type { GatewayDeps } from './deps.ts';
import { freshList } from './fetch-list.ts';
import { type Caller, reach } from './reach.ts';
import { listRequest } from './rpc-request.ts';
import { matchToolPath } from './tool-path.ts';

/** Tools, and `_meta` that names those that quarantine leaves out. */
interface ListedTools {
  tools: readonly Tool[];
  _meta?: unknown;
}

/** The tools of a connection. `signal` ends with the caller. Throws ApiError. */
export async function listTools(
  deps: GatewayDeps,
  caller: Caller,
  connectionId: string,
  signal: AbortSignal,
): Promise<ListedTools> {
  const { tools, connection } = await list(deps, caller, connectionId, signal);
  return { tools, ...(await deps.toolGuard.listMeta(connection)) };
}

/** The tool at `path`, or the tools of that category. Throws ApiError `tool_not_found`, `tool_quarantined`. */
export async function getTool(
  deps: GatewayDeps,
  caller: Caller,
  connectionId: string,
  path: string,
  signal: AbortSignal,
): Promise<Tool | { tools: readonly Tool[] }> {
  const { tools, connection } = await list(deps, caller, connectionId, signal);
  const match = matchToolPath(tools, path);
  if (!match) throw await deps.toolGuard.missing(connection, path);
  return match.kind === 'tool' ? match.tool : { tools: match.tools };
}

async function list(deps: GatewayDeps, caller: Caller, connectionId: string, signal: AbortSignal) {
  const reached = await reach(deps, caller, connectionId, listRequest('tools'), refuseWaitingTools(deps));
  return { tools: await freshList(deps, reached, 'tools', signal), connection: reached.connection };
}
