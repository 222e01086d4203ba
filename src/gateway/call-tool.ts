import type { AuditEntry } from '../audit/entry.ts';
import type { RpcAnswer } from '../mcp/answer.ts';
import { mirroredParams } from '../mcp/headers.ts';
import type { Tool } from '../mcp/lists.ts';
import { ApiError } from '../platform/errors.ts';
import { withinLimit } from '../platform/within-limit.ts';
import { callUpstream } from '../upstream/call.ts';
import { askUpstream, refuseWaitingTools } from './ask-upstream.ts';
import type { GatewayDeps } from './deps.ts';
import { fetchList } from './fetch-list.ts';
import { requireAcceptedTool } from './guarded-tools.ts';
import { type Caller, type ReachedConnection, reach } from './reach.ts';
import { rpcRequest } from './rpc-request.ts';
import { matchToolPath } from './tool-path.ts';

const maxMessageChars = 1000;

/**
 * Calls the tool at `path` with `args`, which only the upstream judges. Returns its CallToolResult as it is,
 * `isError` included. `signal` ends with the caller and cancels the call; `entry` learns what the audit is to say.
 * Throws ApiError: `tool_not_found`, `tool_quarantined`, `tool_error` for a JSON-RPC error, upstream and readiness errors.
 */
export async function callTool(
  deps: GatewayDeps,
  caller: Caller,
  connectionId: string,
  path: string,
  args: Record<string, unknown>,
  signal: AbortSignal,
  entry: AuditEntry,
): Promise<Record<string, unknown>> {
  entry.tool = path;
  let reached = await reach(deps, caller, connectionId, undefined, refuseWaitingTools(deps));
  const remembered = deps.listMemory.get('tools', reached.target);
  let tool = findTool(remembered ?? [], path);
  if (!tool) {
    tool = findTool(await fetchList(deps, reached, 'tools', signal), path);
  }
  if (!tool) throw await deps.toolGuard.missing(reached.connection, path);
  entry.tool = tool.name;
  const params = { name: tool.name, arguments: args };
  entry.asks(params);
  // Once more: the listing may have had the credentials renewed, and now it is known what is to be sent.
  reached = await reach(
    deps,
    caller,
    connectionId,
    rpcRequest('tools/call', params),
    refuseWaitingTools(deps),
  );
  await requireAcceptedTool(deps, reached, tool.name, signal);
  const answer = await askForCall(deps, reached, tool, params, signal);
  if (answer.kind === 'result') {
    if (answer.result.isError === true) entry.toolFailed();
    return completeResult(answer.result);
  }
  // The tool may have gone since its list was read: "unknown tool" has no code of its own in MCP.
  if (remembered && !findTool(await fetchList(deps, reached, 'tools', signal), path))
    throw new ApiError('tool_not_found');
  throw new ApiError('tool_error', {
    message:
      answer.message.slice(0, maxMessageChars) || `The upstream answered JSON-RPC error ${answer.code}.`,
  });
}

function findTool(tools: readonly Tool[], path: string): Tool | undefined {
  const match = matchToolPath(tools, path);
  return match?.kind === 'tool' ? match.tool : undefined;
}

async function askForCall(
  deps: GatewayDeps,
  reached: ReachedConnection,
  tool: Tool,
  params: { name: string; arguments: Record<string, unknown> },
  caller: AbortSignal,
): Promise<RpcAnswer> {
  const { transport, sessions } = deps;
  const mirrored = mirroredParams(tool.inputSchema, params.arguments);
  return withinLimit(reached.target.timeLimits.callTimeoutMs, [caller], (signal) =>
    askUpstream(deps, reached, caller, ({ connection, target }) =>
      callUpstream(transport, sessions, target, connection.protocol, 'tools/call', params, signal, mirrored),
    ),
  );
}

/** A modern server may ask back instead of answering (MCP 2026-07-28, mrtr); over REST nobody can reply. */
function completeResult(result: Record<string, unknown>): Record<string, unknown> {
  const kind = result.resultType;
  if (kind === undefined || kind === 'complete') return result;
  throw new ApiError('tool_error', {
    message: `The tool answered "${String(kind).slice(0, 40)}", which only an MCP client can go on with.`,
  });
}
