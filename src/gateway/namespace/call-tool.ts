import type { IncomingHttpHeaders } from 'node:http';
import type { AuditEntry } from '../../audit/entry.ts';
import type { RpcAnswer } from '../../mcp/answer.ts';
import { mirroredParams } from '../../mcp/headers.ts';
import { ApiError } from '../../platform/errors.ts';
import { callUpstream } from '../../upstream/call.ts';
import { refuseWaiting } from '../answer-mcp.ts';
import { askUpstream } from '../ask-upstream.ts';
import { checkMirroredParams } from '../check-modern-request.ts';
import type { GatewayDeps } from '../deps.ts';
import { findNamespaceTool } from './find-tool.ts';
import { type NamespaceCaller, reachVisible, whenReady } from './visible-connections.ts';

/** A `tools/call` on the namespace endpoint. */
export interface NamespaceCall {
  /** The tool's name in the namespace. */
  name: string;
  args: Record<string, unknown>;
  /** Other members of the params, for the upstream as they are; `_meta` belongs to this hop. */
  rest: Record<string, unknown>;
  /** Headers that mirror the arguments: of a modern caller who calls the tool itself (streamable-http). */
  mirror: IncomingHttpHeaders | undefined;
  /** Learns which connection's tool it is. */
  entry: AuditEntry;
}

/**
 * Calls a tool of the namespace, and gives the upstream's answer as it is: results are not validated, errors keep code,
 * message and data. A name that no tool has is the error −32602 (MCP 2025-11-25, server/tools).
 * Throws ApiError: `mcp_authorization_required` and `mcp_input_required` while the connection waits for its user,
 * `header_mismatch`, and upstream errors.
 */
export async function callNamespaceTool(
  deps: GatewayDeps,
  caller: NamespaceCaller,
  call: NamespaceCall,
): Promise<RpcAnswer> {
  const found = await findNamespaceTool(deps, caller, call.name);
  if (found.kind === 'error') return found;
  const { connectionId, tool, definition } = found.listed;
  call.entry.connectionId = connectionId;
  call.entry.tool = tool;
  const mirrored = mirroredParams(definition.inputSchema, call.args);
  // Whoever reads the body must hold the mirrored headers against it (MCP 2026-07-28, streamable-http).
  if (call.mirror) checkMirroredParams(call.mirror, mirrored);
  return whenReady(deps, caller, connectionId, async () => {
    const { transport, sessions } = deps;
    const reached = await reachVisible(deps, caller, connectionId, refuseWaiting(deps));
    const signal = AbortSignal.any([
      caller.signal,
      AbortSignal.timeout(reached.target.timeLimits.callTimeoutMs),
    ]);
    const params = { ...call.rest, name: tool, arguments: call.args };
    const answer = await askUpstream(deps, reached, caller.signal, (current) =>
      callUpstream(
        transport,
        sessions,
        current.target,
        current.connection.protocol,
        'tools/call',
        params,
        signal,
        mirrored,
      ),
    );
    return ownHop(answer);
  });
}

/** The errors of the transport: headers, client capabilities and revision of one hop. */
const hopCodes = new Set([-32020, -32021, -32022]);

/** Such an error is about what Patchbay sent, and would mislead the caller (SDK docs: migration/support-2026-07-28). */
function ownHop(answer: RpcAnswer): RpcAnswer {
  if (answer.kind !== 'error' || !hopCodes.has(answer.code)) return answer;
  throw new ApiError('tool_error', {
    message: `The tool cannot be called through the namespace endpoint: ${answer.message.slice(0, 1000)}`,
  });
}
