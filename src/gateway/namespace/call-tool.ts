import type { IncomingHttpHeaders } from 'node:http';
import type { AuditEntry } from '../../audit/entry.ts';
import type { RpcAnswer } from '../../mcp/answer.ts';
import { mirroredParams } from '../../mcp/headers.ts';
import { checkMirroredParams } from '../check-modern-request.ts';
import type { GatewayDeps } from '../deps.ts';
import { askConnection } from './ask-connection.ts';
import { findByName } from './find-item.ts';
import type { NamespaceCaller } from './reach-visible.ts';
import { readableAnswer } from './readable-uris.ts';

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
 * Calls a tool of the namespace, and gives the upstream's answer; what it names of its resources the caller can read.
 * A name that no tool has is the error −32602. Throws ApiError: `header_mismatch`, and as `askConnection` does.
 */
export async function callNamespaceTool(
  deps: GatewayDeps,
  caller: NamespaceCaller,
  call: NamespaceCall,
): Promise<RpcAnswer> {
  const found = await findByName(deps, caller, 'tools', call.name);
  if (found.kind === 'error') return found;
  const { connectionId, own: name, definition } = found.listed;
  call.entry.connectionId = connectionId;
  call.entry.tool = name;
  const mirrored = mirroredParams(definition.inputSchema, call.args);
  // Whoever reads the body must hold the mirrored headers against it (MCP 2026-07-28, streamable-http).
  if (call.mirror) checkMirroredParams(call.mirror, mirrored);
  const params = { ...call.rest, name, arguments: call.args };
  const answer = await askConnection(deps, caller, connectionId, 'tools/call', params, mirrored);
  return readableAnswer(connectionId, 'tools/call', answer);
}
