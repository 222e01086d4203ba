import { versionHeader } from '../mcp/headers.ts';
import { clientInfo, modernMeta } from '../mcp/message.ts';
import { eraOf, latestLegacyRevision, latestModernRevision } from '../mcp/revisions.ts';
import { answerOf, type Exchange, exchange, type Transport } from './exchange.ts';
import { UpstreamFault } from './fault.ts';
import type { LegacyClient } from './legacy-session.ts';
import type { Target } from './target.ts';

/** What an upstream speaks, as a probe found it. At least one of the two is there. */
export interface Protocol {
  /** Newest modern revision that both sides speak. */
  modern?: string;
  /** The legacy revision that `initialize` agreed on. */
  legacy?: string;
}

/** A legacy session as `initialize` opened it. */
export interface OpenedSession {
  /** undefined where the server keeps no sessions. */
  id: string | undefined;
  revision: string;
  /** InitializeResult as the upstream gave it. */
  result: Record<string, unknown>;
}

export interface Negotiation {
  protocol: Protocol;
  /** `serverInfo` as the upstream gave it: untrusted. */
  serverInfo: unknown;
  session: OpenedSession | undefined;
}

/**
 * Learns which eras `target` speaks: `server/discover`, then `initialize`
 * (MCP 2026-07-28, basic/versioning; the order of a dual-era client). Only a success is evidence of an era; `known` is
 * what was learned before.
 * Throws UpstreamFault, the last one met, when neither works; ends within `limits.probeMs`, or with `stop`.
 */
export async function negotiate(
  transport: Transport,
  target: Target,
  known: Protocol | undefined,
  stop: AbortSignal,
): Promise<Negotiation> {
  const deadline = AbortSignal.any([stop, AbortSignal.timeout(transport.limits.probeMs)]);
  const modern = await discover(transport, target, deadline);
  const legacy = await openSession(transport, target, plainClient(latestLegacyRevision), deadline).catch(
    (fault: unknown) => {
      const kind = (fault as UpstreamFault).kind;
      if (!modern || kind === 'refused_credentials') throw fault;
      // Only a clear answer says that it does not speak the era; a fault of the moment leaves what is known.
      return kind === 'wrong_answer' ? undefined : known?.legacy;
    },
  );
  const session = typeof legacy === 'object' ? legacy : undefined;
  const protocol: Protocol = {};
  if (modern) protocol.modern = modern.revision;
  const spoken = typeof legacy === 'object' ? legacy.revision : legacy;
  if (spoken) protocol.legacy = spoken;
  return { protocol, serverInfo: modern?.serverInfo ?? session?.result.serverInfo, session };
}

async function discover(
  transport: Transport,
  target: Target,
  deadline: AbortSignal,
): Promise<{ revision: string; serverInfo: unknown } | undefined> {
  const message = {
    jsonrpc: '2.0',
    id: 'discover',
    method: 'server/discover',
    params: { _meta: modernMeta(latestModernRevision) },
  };
  const headers = [versionHeader, latestModernRevision, 'mcp-method', 'server/discover'];
  const signal = AbortSignal.any([deadline, AbortSignal.timeout(transport.limits.discoverMs)]);
  let answered: Exchange;
  try {
    answered = await exchange(transport, target, message, headers, signal);
    // Refused, though it names ours among its own: once more (MCP 2026-07-28, -32022).
    if (namesOurRevision(answered)) answered = await exchange(transport, target, message, headers, signal);
  } catch (fault) {
    // Without a connection there is nothing to ask again; any other failure may be a legacy server's.
    if ((fault as UpstreamFault).kind === 'unreachable') throw fault;
    return undefined;
  }
  if (answered.status === 401 || answered.status === 403) answerOf(answered, target);
  if (answered.answer?.kind !== 'result') return undefined;
  const { supportedVersions, serverInfo, _meta } = answered.answer.result;
  if (!Array.isArray(supportedVersions)) return undefined;
  if (!supportedVersions.includes(latestModernRevision)) return undefined;
  const meta = (typeof _meta === 'object' && _meta !== null ? _meta : {}) as Record<string, unknown>;
  return {
    revision: latestModernRevision,
    serverInfo: meta['io.modelcontextprotocol/serverInfo'] ?? serverInfo,
  };
}

function namesOurRevision({ answer }: Exchange): boolean {
  if (answer?.kind !== 'error' || answer.code !== -32022) return false;
  const { supported } = (answer.data ?? {}) as { supported?: unknown };
  return Array.isArray(supported) && supported.includes(latestModernRevision);
}

/** Patchbay itself, as a client without capabilities: where nobody could answer what a server asks. */
export function plainClient(revision: string): LegacyClient {
  return { revision, capabilities: {}, clientInfo };
}

/**
 * Opens a legacy session for `client`: `initialize`, then `notifications/initialized` (MCP 2025-11-25,
 * basic/lifecycle). Throws UpstreamFault.
 */
export async function openSession(
  transport: Transport,
  target: Target,
  client: LegacyClient,
  deadline: AbortSignal,
): Promise<OpenedSession> {
  const initialize = {
    jsonrpc: '2.0',
    id: 'initialize',
    method: 'initialize',
    params: {
      protocolVersion: client.revision,
      capabilities: client.capabilities,
      clientInfo: client.clientInfo,
    },
  };
  const answered = await exchange(transport, target, initialize, [], deadline);
  const answer = answerOf(answered, target);
  if (answer.kind === 'error') {
    throw new UpstreamFault('wrong_answer', `upstream refused to initialize (JSON-RPC error ${answer.code})`);
  }
  const agreed = answer.result.protocolVersion;
  if (typeof agreed !== 'string' || eraOf(agreed) !== 'legacy') {
    throw new UpstreamFault('wrong_answer', 'not an MCP server: initialize answered no protocol revision');
  }
  const session: OpenedSession = { id: answered.sessionId, revision: agreed, result: answer.result };
  await exchange(
    transport,
    target,
    { jsonrpc: '2.0', method: 'notifications/initialized' },
    sessionHeaders(session),
    deadline,
  );
  return session;
}

/** Headers of every request after `initialize` (MCP 2025-11-25, basic/transports). */
export function sessionHeaders(session: { id: string | undefined; revision: string }): string[] {
  return session.id === undefined
    ? [versionHeader, session.revision]
    : [versionHeader, session.revision, 'mcp-session-id', session.id];
}
