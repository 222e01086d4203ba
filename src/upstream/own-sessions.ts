import type { Clock } from '../platform/clock.ts';
import type { Limits } from '../platform/limits.ts';
import { withinLimit } from '../platform/within-limit.ts';
import { UpstreamFault } from './fault.ts';
import type { LegacyClient, LegacySession, SessionRequest } from './legacy-session.ts';
import type { OwnSession, OwnSessions } from './link-sessions.ts';
import { makeRoom, type Occupant } from './session-room.ts';
import type { Target } from './target.ts';

interface Kept extends OwnSession, Occupant {}

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
      const { sseOwnSessions: most, sseOwnSessionsPerOrigin: mostPerOrigin } = limits;
      makeRoom(target.origin, { open, openings: [...openings], most, mostPerOrigin, discard });
      const opening = { target, stop: new AbortController() };
      openings.add(opening);
      try {
        const stops = [signal, opening.stop.signal];
        const session = await withinLimit(limits.probeMs, stops, (deadline) =>
          introduce(target, client, onMessage, deadline),
        );
        return keep(target, session);
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
