import { iconUrlOf, readServerInfo, type ServerInfo } from '../mcp/server-info.ts';
import { ApiError } from '../platform/errors.ts';
import { UpstreamFault } from '../upstream/fault.ts';
import { negotiate, type OpenedSession, type Protocol } from '../upstream/negotiate.ts';
import type { SessionPool } from '../upstream/sessions.ts';
import type { Target } from '../upstream/target.ts';
import type { ConnectionsDeps } from './deps.ts';
import type { Status } from './status.ts';

/** What one look at an upstream found. A failing upstream is a finding, not an error. */
export interface Finding {
  status: Status;
  /** When the evidence came in; for an upstream that stayed silent, when it was asked. */
  at: number;
  /** Only of an upstream that answered. */
  learned:
    | {
        protocol: Protocol;
        serverInfo: ServerInfo | undefined;
        iconUrl: string | null;
        session: OpenedSession | undefined;
      }
    | undefined;
}

/** Asks `target` who it is and what it speaks. Bounded by `limits.probeMs`; throws only for faults of our own. */
export async function probe(
  { transport, clock, limits, stopping }: ConnectionsDeps,
  target: Target,
): Promise<Finding> {
  const askedAt = clock.now();
  try {
    const { protocol, serverInfo: given, session } = await negotiate(transport, target, stopping);
    const serverInfo = readServerInfo(given, limits);
    return {
      status: { state: 'connected' },
      at: clock.now(),
      learned: { protocol, serverInfo, iconUrl: iconUrlOf(serverInfo), session },
    };
  } catch (fault) {
    if (!(fault instanceof UpstreamFault)) throw fault;
    // Broken off by us: that says nothing about the upstream.
    if (stopping.aborted) throw new ApiError('shutting_down', { retryable: true });
    return {
      status: { state: 'error', message: fault.message },
      at: fault.kind === 'timeout' ? askedAt : clock.now(),
      learned: undefined,
    };
  }
}

/** Keeps the session that a stored finding opened, for the calls to come. */
export function adoptSession(sessions: SessionPool, target: Target, { learned }: Finding): void {
  if (learned?.session) sessions.adopt(target, learned.session);
}

/** Ends the session of a finding that was not stored. */
export function releaseSession(sessions: SessionPool, target: Target, { learned }: Finding): void {
  if (learned?.session) sessions.release(target, learned.session);
}

/** The columns that a finding fills. `attempt` counts failed probes in a row, 0 for the first. */
export function findingColumns(finding: Finding, attempt: number, deps: ConnectionsDeps) {
  const { learned, status, at } = finding;
  return {
    status: JSON.stringify(status),
    status_at: at,
    probe_at: status.state === 'error' ? deps.clock.now() + backoffMs(attempt, deps) : null,
    probe_claim: null,
    probe_attempt: status.state === 'error' ? attempt + 1 : 0,
    ...(learned && {
      protocol: JSON.stringify(learned.protocol),
      server_info: learned.serverInfo ? JSON.stringify(learned.serverInfo) : null,
      icon_url: learned.iconUrl,
    }),
  };
}

/** Exponential with full jitter above the minimum, so that many connections do not probe one upstream in step. */
export function backoffMs(attempt: number, { limits }: Pick<ConnectionsDeps, 'limits'>): number {
  const ceiling = Math.min(limits.healMaxMs, limits.healMinMs * 2 ** Math.min(attempt, 30));
  return Math.round(limits.healMinMs + Math.random() * (ceiling - limits.healMinMs));
}
