import type { Tool } from '../mcp/lists.ts';
import { ApiError } from '../platform/errors.ts';
import { refuseWaitingTools } from './ask-upstream.ts';
import type { GatewayDeps } from './deps.ts';
import { fetchList } from './fetch-list.ts';
import { type Caller, reach } from './reach.ts';
import { listRequest } from './rpc-request.ts';
import { matchToolPath } from './tool-path.ts';

/** The tools of a connection, asked of the upstream now. `signal` ends with the caller. Throws ApiError. */
export async function listTools(
  deps: GatewayDeps,
  caller: Caller,
  connectionId: string,
  signal: AbortSignal,
): Promise<readonly Tool[]> {
  const reached = await reach(deps, caller, connectionId, listRequest('tools'), refuseWaitingTools(deps));
  return fetchList(deps, reached, 'tools', signal);
}

/** The tool at `path`, or the tools of that category. Throws ApiError `tool_not_found`. */
export async function getTool(
  deps: GatewayDeps,
  caller: Caller,
  connectionId: string,
  path: string,
  signal: AbortSignal,
): Promise<Tool | { tools: readonly Tool[] }> {
  const tools = await listTools(deps, caller, connectionId, signal);
  const match = matchToolPath(tools, path);
  if (!match) throw new ApiError('tool_not_found');
  return match.kind === 'tool' ? match.tool : { tools: match.tools };
}
