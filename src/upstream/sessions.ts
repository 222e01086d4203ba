import { hash } from 'node:crypto';
import { sessionHeader } from '../mcp/headers.ts';
import { latestLegacyRevision, legacyRevisions } from '../mcp/revisions.ts';
import type { Clock } from '../platform/clock.ts';
import { randomText } from '../platform/ids.ts';
import { withinLimit } from '../platform/within-limit.ts';
import type { Transport } from './exchange.ts';
import { plainClient } from './initialize.ts';
import type { LinkSessions } from './link-sessions.ts';
import { isSessionLost } from './lost-session.ts';
import { type OpenedSession, openSession, type Protocol, sessionHeaders } from './negotiate.ts';
import type { SessionLeases } from './session-leases.ts';
import type { Target } from './target.ts';

/** A legacy session shared by all calls that have none of their own. */
export interface PooledSession extends OpenedSession {
  target: Target;
  /** Prepared header list of a request in this session. */
  headers: readonly string[];
  /** On the clock of `elapsed()`. */
  usedAt: number;
  /** Calls under way: while there are any, the session is not idle. */
  calls: number;
}

/**
 * The pool of legacy upstream sessions for callers without a session of their own. One session per
 * connection, version of its target, and revision asked for (design §8, Sessions): never shared wider.
 */
export interface SessionPool {
  /** The sessions of an upstream that is reached over a link; `forget`, `end` and `close` here mean them too. */
  link(protocol: Protocol): LinkSessions | undefined;
  /**
   * The session for `revision`, opened if need be; callers that come at once with the same credentials share one
   * opening. Throws UpstreamFault.
   */
  acquire(target: Target, revision: string): Promise<PooledSession>;
  /** The same without opening one. */
  find(target: Target, revision: string): PooledSession | undefined;
  /** Keeps a session that a probe opened, unless there is one already. */
  adopt(target: Target, opened: OpenedSession): void;
  /** Ends a session that a probe opened and nobody will use. */
  release(target: Target, opened: OpenedSession): void;
  /** Marks a call as under way; call the returned function once when it has ended. */
  begin(session: PooledSession): () => void;
  /** Forgets a lost session, so that the next `acquire` opens another. */
  drop(session: PooledSession): void;
  /**
   * A request id that no other call has. Calls share a session, and a server tells its answers apart by id
   * alone: equal ids of two callers would mix their answers. Unguessable, so that it is found in answer bytes.
   */
  uniqueId(): string;
  /** Asks the upstream, with `ping`, whether `session` is lost. Only a clear answer counts. */
  isLost(session: PooledSession): Promise<boolean>;
  /** Forgets the sessions of a connection without a word to the upstream. */
  forget(uid: string): void;
  /** Ends the sessions of a connection at the upstream; with `belowVersion`, those of its older targets only. */
  end(uid: string, belowVersion?: number): Promise<void>;
  /** Ends all. */
  close(): Promise<void>;
}

/** The revision that a session is opened with for a caller of `revision`: one that we know. */
export function pooledRevision(revision: string): string {
  return legacyRevisions.includes(revision) ? revision : latestLegacyRevision;
}

/**
 * Builds the pool of this process, empty. Every minute it ends sessions idle for `upstreamSessionIdleMs`; beyond
 * `upstreamSessions` it ends the one unused the longest. `close` ends the timer too. What ends the sessions of a
 * connection ends those on loan (`leases`) and those over HTTP+SSE (`sse`) as well.
 */
export function createSessionPool(
  transport: Transport,
  clock: Clock,
  leases: SessionLeases,
  links: { sse: LinkSessions; uplink: LinkSessions },
): SessionPool {
  const sessions = new Map<string, PooledSession>();
  const opening = new Map<string, Promise<PooledSession>>();
  const { limits } = transport;
  const idPrefix = `pb-${randomText(12)}-`;
  let lastId = 0;
  let sweep = clock.after(60_000, sweepIdle);

  const key = (target: Target, revision: string) => `${target.uid}:${target.version}:${revision}`;

  /** A session outlives the token that opened it, but a refusal of an old token is none of the new one. */
  const openingKey = (target: Target, revision: string) =>
    `${key(target, revision)}:${hash('sha256', target.headers.reveal().join('\n'), 'base64url')}`;

  function pooled(target: Target, opened: OpenedSession): PooledSession {
    return { ...opened, target, headers: sessionHeaders(opened), usedAt: clock.elapsed(), calls: 0 };
  }

  function keep(target: Target, revision: string, opened: OpenedSession): PooledSession {
    const known = sessions.get(key(target, revision));
    if (known) {
      // Calls may be under way in the known one; if it is lost, the next call finds out.
      if (known.id !== opened.id) void endSession(pooled(target, opened));
      return known;
    }
    const session = pooled(target, opened);
    sessions.set(key(target, revision), session);
    if (opened.revision !== revision && !sessions.has(key(target, opened.revision))) {
      sessions.set(key(target, opened.revision), session);
    }
    if (sessions.size > limits.upstreamSessions) endLeastUsed();
    return session;
  }

  function endLeastUsed(): void {
    let least: PooledSession | undefined;
    for (const session of sessions.values()) {
      if (session.calls === 0 && (!least || session.usedAt < least.usedAt)) least = session;
    }
    if (least) void endSession(least);
  }

  function forget(session: PooledSession): void {
    for (const [name, known] of sessions) if (known === session) sessions.delete(name);
  }

  async function endSession(session: PooledSession): Promise<void> {
    forget(session);
    if (session.id === undefined) return;
    try {
      const response = await transport.dispatcher.request({
        origin: session.target.origin,
        path: session.target.path,
        method: 'DELETE',
        headers: [...session.target.headers.reveal(), sessionHeader, session.id],
        signal: AbortSignal.timeout(limits.endSessionMs),
      });
      response.body.on('error', () => {}).destroy();
    } catch {
      // The server may refuse (405) or be gone: the session then ends with its own idle time.
    }
  }

  function sweepIdle(): void {
    const before = clock.elapsed() - limits.upstreamSessionIdleMs;
    for (const session of new Set(sessions.values())) {
      if (session.calls === 0 && session.usedAt < before) void endSession(session);
    }
    sweep = clock.after(60_000, sweepIdle);
  }

  return {
    link: ({ sse, uplink }) => (uplink ? links.uplink : sse === undefined ? undefined : links.sse),
    find(target, revision) {
      const session = sessions.get(key(target, revision));
      if (!session) return undefined;
      session.usedAt = clock.elapsed();
      // The same target may carry a renewed token by now.
      session.target = target;
      return session;
    },
    async acquire(target, revision) {
      const known = this.find(target, revision);
      if (known) return known;
      const name = openingKey(target, revision);
      let promise = opening.get(name);
      if (!promise) {
        promise = withinLimit(limits.probeMs, [], (deadline) =>
          openSession(transport, target, plainClient(revision), deadline),
        )
          .then((opened) => keep(target, revision, opened))
          .finally(() => opening.delete(name));
        opening.set(name, promise);
      }
      return promise;
    },
    adopt(target, opened) {
      keep(target, opened.revision, opened);
    },
    release(target, opened) {
      void endSession(pooled(target, opened));
    },
    begin(session) {
      session.calls++;
      return () => {
        session.calls--;
        session.usedAt = clock.elapsed();
      };
    },
    drop: forget,
    forget(uid) {
      for (const link of Object.values(links)) link.forget(uid);
      for (const [name, { target }] of sessions) if (target.uid === uid) sessions.delete(name);
      void leases.end(uid);
    },
    uniqueId: () => `${idPrefix}${(lastId++).toString(36)}`,
    isLost: ({ target, headers }) => isSessionLost(transport, target, headers),
    async end(uid, belowVersion = Number.POSITIVE_INFINITY) {
      for (const link of Object.values(links)) link.end(uid, belowVersion);
      const ended = new Set(
        [...sessions.values()].filter(({ target }) => target.uid === uid && target.version < belowVersion),
      );
      await Promise.all([leases.end(uid, belowVersion), ...[...ended].map(endSession)]);
    },
    async close() {
      sweep();
      for (const link of Object.values(links)) link.close();
      await Promise.all([leases.close(), ...[...new Set(sessions.values())].map(endSession)]);
    },
  };
}
