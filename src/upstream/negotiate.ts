import { versionHeader } from '../mcp/headers.ts';
import { modernMeta } from '../mcp/message.ts';
import { latestLegacyRevision, latestModernRevision } from '../mcp/revisions.ts';
import { answerOf, type Exchange, exchange, type Transport } from './exchange.ts';
import { CredentialsRefused, faultOfError, UpstreamFault } from './fault.ts';
import { type Agreement, initializeParams, plainClient, readAgreement } from './initialize.ts';
import type { LegacyClient } from './legacy-session.ts';
import { initializeSse } from './sse/open-session.ts';
import { BadEndpoint, openEventStream } from './sse/open-stream.ts';
import type { Target } from './target.ts';

/** What an upstream speaks, as a probe found it, or a pairing. At least one of the four is there. */
export interface Protocol {
  /** Newest modern revision that both sides speak. */
  modern?: string;
  /** The legacy revision that `initialize` agreed on, over Streamable HTTP. */
  legacy?: string;
  /** The same over HTTP+SSE, the transport of 2024-11-05: only where the server speaks nothing newer. */
  sse?: string;
  /** A legacy server behind the tunnel of an uplink; what it agreed on is known where the tunnel is. */
  uplink?: true;
  /** When it was learned (epoch milliseconds): a server may speak another era tomorrow. */
  learnedAt?: number;
}

/** A legacy session as `initialize` opened it. */
export interface OpenedSession extends Agreement {
  /** undefined where the server keeps no sessions. */
  id: string | undefined;
}

export interface Negotiation {
  protocol: Protocol;
  /** `serverInfo` as the upstream gave it: untrusted. */
  serverInfo: unknown;
  /** `instructions` likewise. */
  instructions: unknown;
  session: OpenedSession | undefined;
}

/**
 * Learns which eras `target` speaks: `server/discover`, then `initialize`
 * (MCP 2026-07-28, basic/versioning; the order of a dual-era client), then the transport of 2024-11-05
 * (MCP 2025-11-25, basic/transports, backwards compatibility). Only a success is evidence of an era; `known` is
 * what was learned before.
 * Throws UpstreamFault, the one that tells most, when none works; ends within `limits.probeMs`, or with `stop`.
 */
export async function negotiate(
  transport: Transport,
  target: Target,
  known: Protocol | undefined,
  stop: AbortSignal,
): Promise<Negotiation> {
  const deadline = AbortSignal.any([stop, AbortSignal.timeout(transport.limits.probeMs)]);
  const modern = await discover(transport, target, deadline);
  const client = plainClient(latestLegacyRevision);
  const legacy = await openSession(transport, target, client, deadline).catch(faultOfError);
  const protocol: Protocol = {};
  if (modern) protocol.modern = modern.revision;
  if (!(legacy instanceof UpstreamFault)) {
    protocol.legacy = legacy.revision;
    const { result } = legacy;
    // Both eras speak of one server; what the newer one says counts.
    return {
      protocol,
      serverInfo: modern?.serverInfo ?? result.serverInfo,
      instructions: modern?.instructions ?? result.instructions,
      session: legacy,
    };
  }
  if (!modern && mayBeOlder(legacy)) return negotiateOverSse(transport, target, known, legacy, deadline);
  if (!modern || legacy.kind === 'refused_credentials') throw legacy;
  // Only a clear answer says that it does not speak the era; a fault of the moment leaves what is known.
  if (known?.legacy !== undefined && legacy.kind !== 'wrong_answer') protocol.legacy = known.legacy;
  const { serverInfo, instructions } = modern;
  return { protocol, serverInfo, instructions, session: undefined };
}

/** Whether a server refused to initialize as those do that know the transport of 2024-11-05 alone. */
function mayBeOlder({ status }: UpstreamFault): boolean {
  return status === 400 || status === 404 || status === 405;
}

/**
 * Initializes over HTTP+SSE, after `refusal` over Streamable HTTP. That stays what is wrong, unless there turns out to
 * be, or was before, a server of this kind, or one that wants credentials. The session is closed again.
 */
async function negotiateOverSse(
  transport: Transport,
  target: Target,
  known: Protocol | undefined,
  refusal: UpstreamFault,
  deadline: AbortSignal,
): Promise<Negotiation> {
  const stream = await openEventStream(transport, target, deadline).catch((fault: unknown) => {
    const tellsMore = fault instanceof CredentialsRefused || fault instanceof BadEndpoint;
    throw tellsMore || known?.sse !== undefined ? fault : refusal;
  });
  const client = plainClient(latestLegacyRevision);
  const session = await initializeSse(transport, target, stream, client, deadline);
  const { revision, result } = session;
  await session.close();
  const { serverInfo, instructions } = result;
  return { protocol: { sse: revision }, serverInfo, instructions, session: undefined };
}

async function discover(
  transport: Transport,
  target: Target,
  deadline: AbortSignal,
): Promise<({ revision: string } & Pick<Negotiation, 'serverInfo' | 'instructions'>) | undefined> {
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
  const { supportedVersions, serverInfo, instructions, _meta } = answered.answer.result;
  if (!Array.isArray(supportedVersions)) return undefined;
  if (!supportedVersions.includes(latestModernRevision)) return undefined;
  const meta = (typeof _meta === 'object' && _meta !== null ? _meta : {}) as Record<string, unknown>;
  return {
    revision: latestModernRevision,
    serverInfo: meta['io.modelcontextprotocol/serverInfo'] ?? serverInfo,
    instructions,
  };
}

function namesOurRevision({ answer }: Exchange): boolean {
  if (answer?.kind !== 'error' || answer.code !== -32022) return false;
  const { supported } = (answer.data ?? {}) as { supported?: unknown };
  return Array.isArray(supported) && supported.includes(latestModernRevision);
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
  const params = initializeParams(client);
  const initialize = { jsonrpc: '2.0', id: 'initialize', method: 'initialize', params };
  const answered = await exchange(transport, target, initialize, [], deadline);
  const agreement = readAgreement(answerOf(answered, target), answered.status);
  const session: OpenedSession = { id: answered.sessionId, ...agreement };
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
