import { ApiError } from '../platform/errors.ts';
import { callUpstream } from '../upstream/call.ts';
import { UpstreamFault } from '../upstream/fault.ts';
import { askUpstream, refuseWaitingTools } from './ask-upstream.ts';
import type { GatewayDeps } from './deps.ts';
import { type ReachedConnection, reach } from './reach.ts';
import type { Tool } from './tool-memory.ts';
import { matchToolPath } from './tool-path.ts';

const methodNotFound = -32601;

/** The tools of a connection, asked of the upstream now. `signal` ends with the caller. Throws ApiError. */
export async function listTools(
  deps: GatewayDeps,
  namespace: string,
  connectionId: string,
  signal: AbortSignal,
): Promise<readonly Tool[]> {
  const reached = await reach(deps, namespace, connectionId, refuseWaitingTools(deps));
  return fetchTools(deps, reached, signal);
}

/** The tool at `path`, or the tools of that category. Throws ApiError `tool_not_found`. */
export async function getTool(
  deps: GatewayDeps,
  namespace: string,
  connectionId: string,
  path: string,
  signal: AbortSignal,
): Promise<Tool | { tools: readonly Tool[] }> {
  const tools = await listTools(deps, namespace, connectionId, signal);
  const match = matchToolPath(tools, path);
  if (!match) throw new ApiError('tool_not_found');
  return match.kind === 'tool' ? match.tool : { tools: match.tools };
}

/** Lists all pages within `timeLimitMs`, remembers them, and keeps the status true. Throws ApiError. */
export async function fetchTools(
  deps: GatewayDeps,
  reached: ReachedConnection,
  caller: AbortSignal,
  timeLimitMs = deps.limits.listToolsMs,
): Promise<readonly Tool[]> {
  const signal = AbortSignal.any([caller, AbortSignal.timeout(timeLimitMs)]);
  return askUpstream(deps, reached, caller, async (current) => {
    const tools = await fetchPages(deps, current, signal);
    deps.toolMemory.set(current.target, tools);
    return tools;
  });
}

async function fetchPages(
  deps: GatewayDeps,
  { connection, target }: ReachedConnection,
  signal: AbortSignal,
): Promise<Tool[]> {
  const { transport, sessions, limits } = deps;
  const tools: Tool[] = [];
  let cursor: unknown;
  for (let page = 0; page < limits.toolPages && tools.length < limits.toolsPerConnection; page++) {
    const params = cursor === undefined ? {} : { cursor };
    const answer = await callUpstream(
      transport,
      sessions,
      target,
      connection.protocol,
      'tools/list',
      params,
      signal,
    );
    if (answer.kind === 'error') {
      // A server without the tools capability has none to list; any other error is not an empty list.
      if (answer.code === methodNotFound && page === 0) return [];
      deps.observer.doubted(connection);
      throw new ApiError('tool_error', {
        message: `The upstream answered tools/list with JSON-RPC error ${answer.code}.`,
      });
    }
    const listed = answer.result.tools;
    if (!Array.isArray(listed))
      throw new UpstreamFault('wrong_answer', 'upstream answered tools/list without tools');
    tools.push(...listed.filter(isTool));
    cursor = answer.result.nextCursor;
    if (typeof cursor !== 'string' || cursor === '') return tools;
  }
  throw new UpstreamFault(
    'wrong_answer',
    `upstream lists more than ${limits.toolPages} pages or ${limits.toolsPerConnection} tools`,
  );
}

function isTool(value: unknown): value is Tool {
  return (
    typeof value === 'object' && value !== null && typeof (value as { name?: unknown }).name === 'string'
  );
}
