import { hash } from 'node:crypto';
import { latestLegacyRevision } from '../../mcp/revisions.ts';
import type { Clock } from '../../platform/clock.ts';
import { withinLimit } from '../../platform/within-limit.ts';
import type { Transport } from '../exchange.ts';
import { CredentialsRefused, faultOfError, UpstreamFault } from '../fault.ts';
import { plainClient } from '../initialize.ts';
import { type LegacySession, SessionLost } from '../legacy-session.ts';
import type { LinkSessions, OwnSessions } from '../link-sessions.ts';
import { makeRoom, type Occupant } from '../session-room.ts';
import type { Target } from '../target.ts';
import { openSseSession } from './open-session.ts';
import type { SseSession } from './session.ts';

interface Pooled extends Occupant {
  session: SseSession;
  /** Takes no more calls, and is closed when those under way have ended. */
  isRetired: boolean;
}

interface Opening {
  target: Target;
  stop: AbortController;
  pooled: Promise<Pooled>;
}

/**
 * Builds the pool of sessions over HTTP+SSE of this process, empty. Every minute it closes sessions idle for `sseSessionIdleMs`. At `sseSessions`,
 * or `sseSessionsPerOrigin`, it closes the idle one unused the longest; if all are in use, the call is refused.
 */
export function createSsePool(transport: Transport, clock: Clock, own: OwnSessions): LinkSessions {
  const { limits } = transport;
  /** Sessions that take calls. */
  const current = new Map<string, Pooled>();
  /** All that are open. */
  const open = new Set<Pooled>();
  const openings = new Map<string, Opening>();
  let sweep = clock.after(60_000, sweepIdle);

  const key = ({ uid, version }: Target) => `${uid}:${version}`;

  /** A session outlives the token that opened it, but a refusal of an old token is none of the new one. */
  const openingKey = (target: Target) => `${key(target)}:${hash('sha256', headersOf(target), 'base64url')}`;

  function keep(target: Target, session: SseSession): Pooled {
    const pooled = { session, target, usedAt: clock.elapsed(), users: 0, isRetired: false };
    const before = current.get(key(target));
    if (before) retire(before);
    current.set(key(target), pooled);
    open.add(pooled);
    session.ended.addEventListener('abort', () => discard(pooled));
    if (session.ended.aborted) discard(pooled);
    return pooled;
  }

  /** Takes no more calls to it. */
  function retire(pooled: Pooled): void {
    pooled.isRetired = true;
    if (current.get(key(pooled.target)) === pooled) current.delete(key(pooled.target));
    if (pooled.users === 0) discard(pooled);
  }

  function discard(pooled: Pooled): void {
    open.delete(pooled);
    if (current.get(key(pooled.target)) === pooled) current.delete(key(pooled.target));
    void pooled.session.close();
  }

  /** Throws UpstreamFault `busy`. */
  function openFor(target: Target): Promise<Pooled> {
    const name = openingKey(target);
    const known = openings.get(name);
    if (known) return known.pooled;
    const { sseSessions: most, sseSessionsPerOrigin: mostPerOrigin } = limits;
    makeRoom(target.origin, { open, openings: [...openings.values()], most, mostPerOrigin, discard });
    const stop = new AbortController();
    const client = plainClient(latestLegacyRevision);
    const pooled = withinLimit(limits.probeMs, [stop.signal], (deadline) =>
      openSseSession(transport, target, client, deadline),
    )
      .then((session) => keep(target, session))
      .finally(() => openings.delete(name));
    openings.set(name, { target, stop, pooled });
    return pooled;
  }

  async function acquire(target: Target, signal: AbortSignal): Promise<Pooled> {
    const known = current.get(key(target));
    if (known && !known.session.isSilent) return known;
    if (known) retire(known);
    return withSignal(openFor(target), signal);
  }

  async function workIn<T>(
    pooled: Pooled,
    target: Target,
    work: (session: LegacySession) => Promise<T>,
  ): Promise<T> {
    pooled.users++;
    try {
      pooled.session.retarget(target);
      return await work(pooled.session);
    } finally {
      pooled.users--;
      pooled.usedAt = clock.elapsed();
      if (pooled.isRetired && pooled.users === 0) discard(pooled);
    }
  }

  function sweepIdle(): void {
    const before = clock.elapsed() - limits.sseSessionIdleMs;
    for (const pooled of open) if (pooled.users === 0 && pooled.usedAt < before) discard(pooled);
    sweep = clock.after(60_000, sweepIdle);
  }

  function stopOpenings(isMeant: (target: Target) => boolean): void {
    for (const { target, stop } of openings.values()) {
      if (isMeant(target)) stop.abort(new UpstreamFault('cut_off', 'the session was ended'));
    }
  }

  return {
    own,
    request(target, request) {
      return this.use(target, request.signal, (session) => session.request(request));
    },
    async use(target, signal, work) {
      const pooled = await acquire(target, signal);
      try {
        return await workIn(pooled, target, work);
      } catch (fault) {
        // A server that knows the session by its first token refuses the next one, and did not run the call either.
        const isOutdated =
          fault instanceof CredentialsRefused && headersOf(pooled.target) !== headersOf(target);
        if (!isOutdated && !(fault instanceof SessionLost)) throw fault;
        retire(pooled);
        return workIn(await acquire(target, signal), target, work);
      }
    },
    forget(uid) {
      stopOpenings((target) => target.uid === uid);
      for (const pooled of open) if (pooled.target.uid === uid) retire(pooled);
    },
    end(uid, belowVersion = Number.POSITIVE_INFINITY) {
      const isMeant = (target: Target) => target.uid === uid && target.version < belowVersion;
      own.end(uid, belowVersion);
      stopOpenings(isMeant);
      for (const pooled of open) if (isMeant(pooled.target)) discard(pooled);
    },
    close() {
      sweep();
      own.close();
      stopOpenings(() => true);
      for (const pooled of open) discard(pooled);
    },
  };
}

function headersOf({ headers }: Target): string {
  return headers.reveal().join('\n');
}

/** Waits for what others wait for too, but only as long as `signal` lets it. */
function withSignal<T>(shared: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(faultOfError(signal.reason));
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort);
    shared.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
