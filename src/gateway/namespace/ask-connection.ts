import type { RpcAnswer } from '../../mcp/answer.ts';
import { ApiError } from '../../platform/errors.ts';
import { withinLimit } from '../../platform/within-limit.ts';
import { callUpstream } from '../../upstream/call.ts';
import { refuseWaiting } from '../answer-mcp.ts';
import { askUpstream } from '../ask-upstream.ts';
import type { GatewayDeps } from '../deps.ts';
import { requireAcceptedTool } from '../guarded-tools.ts';
import { rpcRequest } from '../rpc-request.ts';
import { type NamespaceCaller, reachVisible, whenReady } from './reach-visible.ts';

/**
 * Asks the upstream of one connection, and gives its answer as it is: results are not validated, errors keep code,
 * message and data. `mirrored` are arguments as headers, a flat list.
 * Throws ApiError: `connection_not_found`; `mcp_authorization_required` and `mcp_input_required` while the connection
 * waits for its user; `tool_quarantined`; upstream errors.
 */
export async function askConnection(
  deps: GatewayDeps,
  caller: NamespaceCaller,
  connectionId: string,
  method: string,
  params: Record<string, unknown>,
  mirrored: readonly string[] = [],
): Promise<RpcAnswer> {
  const { transport, sessions } = deps;
  return whenReady(deps, caller, connectionId, async () => {
    const asking = { ...caller, request: rpcRequest(method, params) };
    const reached = await reachVisible(deps, asking, connectionId, refuseWaiting(deps));
    if (method === 'tools/call') await requireAcceptedTool(deps, reached, params.name, caller.signal);
    const { callTimeoutMs } = reached.target.timeLimits;
    const answer = await withinLimit(callTimeoutMs, [caller.signal], (signal) =>
      askUpstream(deps, reached, caller.signal, ({ target, connection }) =>
        callUpstream(transport, sessions, target, connection.protocol, method, params, signal, mirrored),
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
    message: `The server cannot be asked this through the namespace endpoint: ${answer.message.slice(0, 1000)}`,
  });
}
