import type { RpcAnswer } from '../mcp/answer.ts';
import { clientInfo } from '../mcp/message.ts';
import { eraOf } from '../mcp/revisions.ts';
import { UpstreamFault } from './fault.ts';
import type { LegacyClient } from './legacy-session.ts';

/** Patchbay itself, as a client without capabilities: where nobody could answer what a server asks. */
export function plainClient(revision: string): LegacyClient {
  return { revision, capabilities: {}, clientInfo };
}

/** The params of `initialize` (MCP 2025-11-25, basic/lifecycle). */
export function initializeParams({
  revision,
  capabilities,
  clientInfo: info,
}: LegacyClient): Record<string, unknown> {
  return { protocolVersion: revision, capabilities, clientInfo: info };
}

/** What both sides agreed on with `initialize`. */
export interface Agreement {
  revision: string;
  /** InitializeResult as the upstream gave it. */
  result: Record<string, unknown>;
}

/** Reads the answer to `initialize`; `status` is the HTTP status that it came with. Throws UpstreamFault. */
export function readAgreement(answer: RpcAnswer, status?: number): Agreement {
  if (answer.kind === 'error') {
    const message = `upstream refused to initialize (JSON-RPC error ${answer.code})`;
    throw new UpstreamFault('wrong_answer', message, undefined, status);
  }
  const revision = answer.result.protocolVersion;
  if (typeof revision !== 'string' || eraOf(revision) !== 'legacy') {
    throw new UpstreamFault('wrong_answer', 'not an MCP server: initialize answered no protocol revision');
  }
  return { revision, result: answer.result };
}
