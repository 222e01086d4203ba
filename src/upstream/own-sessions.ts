import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import type { Limits } from '../platform/limits.ts';
import { UpstreamFault } from './fault.ts';
import type { LegacyClient, LegacySession, SessionRequest } from './legacy-session.ts';
import type { OwnSession, OwnSessions } from './link-sessions.ts';
import type { Target } from './target.ts';

interface Kept extends OwnSession {
  target: Target;
  users: number;
  /** On the clock of `elapsed()`. */
  usedAt: number;
}

interface Opening {
  target: Target;
  stop: AbortController;
}

/**
 * Opens a session without `notifications/initialized`, which `client` is to send itself; `onMessage` listens from the
 * beginning. Throws UpstreamFault; ends with `deadline`, which does not bound the session itself.
 */
export type Introduce = (
  target: Target,
  client: LegacyClient,
  onMessage: SessionRequest['onMessage'],
  deadline: AbortSignal,
) => Promise<LegacySession>;

/**
 * Builds them for this process, none open. Every minute it closes those idle for `sseOwnSessionIdleMs`. At
 * `sseOwnSessions`, or `sseOwnSessionsPerOrigin`, the idle one unused the longest makes way.
 */
export function createOwnSessions(introduce: Introduce, limits: Limits, clock: Clock): OwnSessions {
  const open = new Set<Kept>();
  const openings = new Set<Opening>();
  let sweep = clock.after(60_000, sweepIdle);

  function discard(kept: Kept): void {
    open.delete(kept);
    void kept.session.close();
  }

  function sweepIdle(): void {
    const before = clock.elapsed() - limits.sseOwnSessionIdleMs;
    for (const kept of open) if (kept.users === 0 && kept.usedAt < before) discard(kept);
    sweep = clock.after(60_000, sweepIdle);
  }

  /** Whether one more with `origin` may be opened, after the idle one unused the longest has made way. */
  function hasRoom(origin: string): boolean {
    const isHere = ({ target }: { target: Target }) => target.origin === origin;
    const here = [...open].filter(isHere);
    const isFullHere = here.length + [...openings].filter(isHere).length >= limits.sseOwnSessionsPerOrigin;
    if (!isFullHere && open.size + openings.size < limits.sseOwnSessions) return true;
    let least: Kept | undefined;
    for (const kept of isFullHere ? here : open) {
      if (kept.users === 0 && (!least || kept.usedAt < least.usedAt)) least = kept;
    }
    if (least) discard(least);
    return least !== undefined;
  }

  function keep(target: Target, session: LegacySession): OwnSession {
    const kept: Kept = {
      session,
      target,
      users: 0,
      usedAt: clock.elapsed(),
      begin() {
        kept.users++;
        return () => {
          kept.users--;
          kept.usedAt = clock.elapsed();
        };
      },
    };
    open.add(kept);
    session.ended.addEventListener('abort', () => open.delete(kept));
    if (session.ended.aborted) open.delete(kept);
    return kept;
  }

  return {
    async open(target, client, onMessage, signal) {
      if (!hasRoom(target.origin)) throw new OriginFull();
      const opening = { target, stop: new AbortController() };
      openings.add(opening);
      const deadline = AbortSignal.any([signal, opening.stop.signal, AbortSignal.timeout(limits.probeMs)]);
      try {
        return keep(target, await introduce(target, client, onMessage, deadline));
      } finally {
        openings.delete(opening);
      }
    },
    end(uid, belowVersion = Number.POSITIVE_INFINITY) {
      const isMeant = ({ target }: { target: Target }) => target.uid === uid && target.version < belowVersion;
      for (const opening of openings) if (isMeant(opening)) opening.stop.abort(ended());
      for (const kept of open) if (isMeant(kept)) discard(kept);
    },
    close() {
      sweep();
      for (const { stop } of openings) stop.abort(ended());
      for (const kept of open) discard(kept);
    },
  };
}

function ended(): UpstreamFault {
  return new UpstreamFault('cut_off', 'the session was ended');
}

/** Every session that may be open is in use; none was opened. */
class OriginFull extends UpstreamFault {
  constructor() {
    super('busy', 'too many sessions with this upstream are in use');
  }

  override toApiError(): ApiError {
    return new ApiError('rate_limited', { message: 'Too many sessions with this upstream are in use.' });
  }
}
