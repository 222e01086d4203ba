import { hash } from 'node:crypto';
import type { Clock } from '../platform/clock.ts';
import { withinLimit } from '../platform/within-limit.ts';
import { type ChangeFeed, isChange } from './change-feed.ts';
import type { Transport } from './exchange.ts';
import { openHttpSession } from './http-session.ts';
import type { LegacyClient, LegacySession, SessionRequest, UpstreamMessage } from './legacy-session.ts';
import type { Protocol } from './negotiate.ts';
import { makeRoom, type Occupant } from './session-room.ts';
import { openSseSession } from './sse/open-session.ts';
import type { Target } from './target.ts';
import type { UplinkBus } from './uplink/bus.ts';

/** A session on loan, for one call or one stream. */
export interface Lease {
  session: LegacySession;
  /** Hears what the upstream sends outside of any request while the session is on loan; changes go to the feed. */
  onMessage: SessionRequest['onMessage'] | undefined;
  /** The log level that the session was last told; undefined for none. */
  logLevel: string | undefined;
  /** Gives it back; without a stream it may serve the next call. */
  release(): void;
  /** Ends it instead. */
  drop(): void;
}

/**
 * Sessions for the calls of the bridge. Calls of clients that a server can ask nothing share one; any other call has
 * its session for itself while it lasts, so that whatever the server asks or logs there is meant for it. Sessions are
 * never shared wider than connection, version of its target and what the client declared (design §8, Sessions).
 */
export interface SessionLeases {
  /**
   * Lends a session of `client`, opened if need be. `isAlone` for what belongs to a session as a whole, such as log
   * messages and subscriptions. Throws UpstreamFault.
   */
  lease(target: Target, protocol: Protocol, client: LegacyClient, isAlone: boolean): Promise<Lease>;
  /** Ends the sessions of a connection; with `belowVersion`, those of its older targets only. */
  end(uid: string, belowVersion?: number): Promise<void>;
  /** Ends all. */
  close(): Promise<void>;
}

const methodNotFound = { code: -32601, message: 'Method not found' };

/** What a server can ask of a client, by the capability that says so (MCP 2025-11-25, basic/lifecycle). */
const askable = ['elicitation', 'sampling', 'roots'];

interface Kept extends Occupant {
  key: string;
  session: LegacySession;
  isShared: boolean;
  logLevel: string | undefined;
  listener: SessionRequest['onMessage'] | undefined;
}

/**
 * Builds the leases of this process. Every minute it ends sessions idle for `upstreamSessionIdleMs`. At `leasedSessions`, or
 * `leasedSessionsPerOrigin`, the idle one unused the longest makes way; if all are in use, the call is refused.
 */
export function createSessionLeases(
  transport: Transport,
  clock: Clock,
  feed: ChangeFeed,
  bus: UplinkBus,
): SessionLeases {
  const { limits } = transport;
  const kept = new Set<Kept>();
  /** Those that are being opened: shared ones, for others who want the same, and all. */
  const sharing = new Map<string, Promise<Kept>>();
  const openings = new Set<{ target: Target }>();
  let sweep = clock.after(60_000, sweepIdle);

  function sweepIdle(): void {
    const before = clock.elapsed() - limits.upstreamSessionIdleMs;
    for (const entry of kept) if (entry.users === 0 && entry.usedAt < before) drop(entry);
    sweep = clock.after(60_000, sweepIdle);
  }

  function drop(entry: Kept): void {
    kept.delete(entry);
    void entry.session.close();
  }

  function openAs(protocol: Protocol, target: Target, client: LegacyClient): Promise<LegacySession> {
    return withinLimit<LegacySession>(limits.probeMs, [], (deadline) => {
      // The feed is told of changes by the tunnel itself, once for all sessions.
      if (protocol.uplink) return bus.open(target, client, false, deadline);
      const openSession = protocol.sse === undefined ? openHttpSession : openSseSession;
      return openSession(transport, target, client, deadline);
    });
  }

  async function open(
    target: Target,
    protocol: Protocol,
    client: LegacyClient,
    key: string,
    isShared: boolean,
  ): Promise<Kept> {
    const { leasedSessions: most, leasedSessionsPerOrigin: mostPerOrigin } = limits;
    makeRoom(target.origin, { open: kept, openings: [...openings], most, mostPerOrigin, discard: drop });
    const opening = { target };
    openings.add(opening);
    const session = await openAs(protocol, target, client).finally(() => openings.delete(opening));
    const entry: Kept = {
      key,
      target,
      session,
      isShared,
      users: 0,
      usedAt: clock.elapsed(),
      logLevel: undefined,
      listener: undefined,
    };
    kept.add(entry);
    session.ended.addEventListener('abort', () => kept.delete(entry), { once: true });
    const hear = (message: UpstreamMessage) => {
      if (isChange(message)) feed.tell(target.uid, message);
      else if (entry.listener) return entry.listener(message);
      // Nobody is there to be asked, and the server must not wait.
      else if (message.id !== undefined) return session.respond(message.id, { error: methodNotFound });
    };
    // Servers also ask outside of the call that they ask for, on the stream of the session. One without it is fine.
    await session.listen(hear).catch(() => false);
    return entry;
  }

  async function find(
    target: Target,
    protocol: Protocol,
    client: LegacyClient,
    isAlone: boolean,
  ): Promise<Kept> {
    const isShared = !isAlone && !askable.some((name) => client.capabilities[name] !== undefined);
    const key = keyOf(target, client);
    for (const entry of kept) {
      if (entry.key === key && entry.isShared === isShared && (isShared || entry.users === 0)) return entry;
    }
    if (!isShared) return open(target, protocol, client, key, false);
    let promise = sharing.get(key);
    if (!promise) {
      promise = open(target, protocol, client, key, true).finally(() => sharing.delete(key));
      sharing.set(key, promise);
    }
    return promise;
  }

  return {
    async lease(target, protocol, client, isAlone) {
      const entry = await find(target, protocol, client, isAlone);
      entry.users++;
      entry.session.retarget(target);
      let isOut = true;
      const back = () => {
        if (!isOut) return false;
        isOut = false;
        entry.users--;
        entry.usedAt = clock.elapsed();
        entry.listener = undefined;
        return true;
      };
      return {
        session: entry.session,
        get onMessage() {
          return entry.listener;
        },
        set onMessage(listener) {
          // What a shared session says outside of a request is meant for nobody in particular.
          if (isOut && !entry.isShared) entry.listener = listener;
        },
        get logLevel() {
          return entry.logLevel;
        },
        set logLevel(level) {
          entry.logLevel = level;
        },
        release: () => void back(),
        drop: () => {
          if (back()) drop(entry);
        },
      };
    },
    async end(uid, belowVersion = Number.POSITIVE_INFINITY) {
      const ended = [...kept].filter(({ target }) => target.uid === uid && target.version < belowVersion);
      for (const entry of ended) kept.delete(entry);
      await Promise.all(ended.map(({ session }) => session.close()));
    },
    async close() {
      sweep();
      const all = [...kept];
      kept.clear();
      await Promise.all(all.map(({ session }) => session.close()));
    },
  };
}

function keyOf({ uid, version }: Target, { revision, capabilities, clientInfo }: LegacyClient): string {
  const declared = hash('sha256', JSON.stringify([revision, capabilities, clientInfo]), 'base64url');
  return `${uid}:${version}:${declared}`;
}
