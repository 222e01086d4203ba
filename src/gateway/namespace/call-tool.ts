import type { IncomingHttpHeaders } from 'node:http';
import type { AuditEntry } from '../../audit/entry.ts';
import type { RpcAnswer } from '../../mcp/answer.ts';
import { mirroredParams } from '../../mcp/headers.ts';
import type { Era } from '../../mcp/revisions.ts';
import { ApiError } from '../../platform/errors.ts';
import { callUpstream } from '../../upstream/call.ts';
import { refuseWaiting } from '../answer-mcp.ts';
import { askUpstream } from '../ask-upstream.ts';
import { checkMirroredParams } from '../check-modern-request.ts';
import type { GatewayDeps } from '../deps.ts';
import { fetchTools } from '../list-tools.ts';
import { reach } from '../reach.ts';
import { withVia } from '../via-target.ts';
import { connectionOfName, nameTools } from './aggregate-name.ts';
import { type ListedTool, listNamespaceTools, type NamespaceCaller, rememberedTools } from './list-tools.ts';

/** A `tools/call` on the namespace endpoint. */
export interface NamespaceCall {
  /** The tool's name in the namespace. */
  name: string;
  args: Record<string, unknown>;
  /** Other members of the params, for the upstream as they are; `_meta` belongs to this hop. */
  rest: Record<string, unknown>;
  era: Era;
  headers: IncomingHttpHeaders;
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
  const found = await findTool(deps, caller, call.name);
  if (found.kind === 'error') return found;
  const { connectionId, tool, definition } = found.listed;
  call.entry.connectionId = connectionId;
  call.entry.tool = tool;
  const mirrored = mirroredParams(definition.inputSchema, call.args);
  // Only a modern caller mirrors; whoever reads the body must hold the mirrored headers against it (streamable-http).
  if (call.era === 'modern') checkMirroredParams(call.headers, mirrored);
  return whenReady(deps, caller.namespace, connectionId, async () => {
    const { transport, sessions } = deps;
    const reached = await reach(deps, caller.namespace, connectionId, refuseWaiting(deps));
    const signal = AbortSignal.any([
      caller.signal,
      AbortSignal.timeout(reached.target.timeLimits.callTimeoutMs),
    ]);
    const params = { ...call.rest, name: tool, arguments: call.args };
    const answer = await askUpstream(deps, withVia(reached, caller.via), caller.signal, (current) =>
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

type Found = { kind: 'tool'; listed: ListedTool } | Extract<RpcAnswer, { kind: 'error' }>;

/**
 * What is remembered answers first. Else a plain name tells its connection, and no other is asked; an alias does not,
 * so all are.
 */
async function findTool(deps: GatewayDeps, caller: NamespaceCaller, name: string): Promise<Found> {
  const connectionId = connectionOfName(name);
  if (connectionId !== undefined) {
    const listed = await findInConnection(deps, caller, connectionId, name);
    return listed ? { kind: 'tool', listed } : unknownTool(name);
  }
  const remembered = (await rememberedTools(deps, caller.namespace)).tools.get(name);
  if (remembered) return { kind: 'tool', listed: remembered };
  const { tools, unavailable } = await listNamespaceTools(deps, caller);
  const listed = tools.get(name);
  return listed ? { kind: 'tool', listed } : unknownTool(name, unavailable.length);
}

async function findInConnection(
  deps: GatewayDeps,
  { namespace, via, signal }: NamespaceCaller,
  connectionId: string,
  name: string,
): Promise<ListedTool | undefined> {
  try {
    return await whenReady(deps, namespace, connectionId, async () => {
      const reached = await reach(deps, namespace, connectionId, refuseWaiting(deps));
      const named = (tools: Awaited<ReturnType<typeof fetchTools>>) =>
        nameTools(tools.map((definition) => ({ connectionId, tool: definition.name, definition }))).get(name);
      const remembered = named(deps.toolMemory.get(reached.target) ?? []);
      return remembered ?? named(await fetchTools(deps, withVia(reached, via), signal));
    });
  } catch (error) {
    // To the caller the connection is a part of the tool's name.
    if (error instanceof ApiError && error.code === 'connection_not_found') return undefined;
    throw error;
  }
}

/** What the upstream is asked for may show that the connection waits for its user; then the answer is as if it had before. */
async function whenReady<T>(
  deps: GatewayDeps,
  namespace: string,
  connectionId: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const waits = error instanceof ApiError && ['auth_required', 'input_required'].includes(error.code);
    if (waits) await reach(deps, namespace, connectionId, refuseWaiting(deps));
    throw error;
  }
}

function unknownTool(name: string, unavailable = 0): Found {
  const message = `Unknown tool: ${name.slice(0, 200)}`;
  const hint = ` (${unavailable} of the connections could not be listed; tools/list names them)`;
  return { kind: 'error', code: -32602, message: unavailable ? message + hint : message, data: undefined };
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
