import type { RpcAnswer } from '../mcp/answer.ts';
import type { LegacyClient, LegacySession, SessionRequest } from './legacy-session.ts';
import type { Target } from './target.ts';

/** A session over a link, for one client alone. */
export interface OwnSession {
  readonly session: LegacySession;
  /** Marks it as in use, and so not idle; call the returned function once when that has ended. */
  begin(): () => void;
}

/** The sessions over links that clients have for themselves. They live in this process, and end with it. */
export interface OwnSessions {
  /**
   * Opens one, and introduces `client`; that it is ready is its own to say. `onMessage` hears what belongs to no request,
   * from the beginning. Throws UpstreamFault, `busy` if as many are in use as may; ends with `signal`, or after
   * `limits.probeMs`.
   */
  open(
    target: Target,
    client: LegacyClient,
    onMessage: SessionRequest['onMessage'],
    signal: AbortSignal,
  ): Promise<OwnSession>;
  /** Closes the sessions of a connection; with `belowVersion`, those of its older targets only. */
  end(uid: string, belowVersion?: number): void;
  /** Closes all. */
  close(): void;
}

/**
 * Legacy sessions over a link: one channel on which all answers come, and which is the session, so that it can be neither
 * resumed nor moved to another process. Those here are for calls without a session of their own: one per connection and
 * version of its target, with no client capabilities, as nobody could answer what a server asks.
 */
export interface LinkSessions {
  /** The sessions that clients have for themselves; `end` and `close` here mean them too. */
  readonly own: OwnSessions;
  /**
   * Sends a request in the session of `target`, opened if need be; callers that come at once with the same credentials
   * share one opening. Where the session is lost, another one is opened, once, and the request repeated: it did not run.
   * Throws UpstreamFault.
   */
  request(target: Target, request: SessionRequest): Promise<RpcAnswer>;
  /** Does `work`, which may be repeated likewise, in the session of `target`. Throws UpstreamFault. */
  use<T>(target: Target, signal: AbortSignal, work: (session: LegacySession) => Promise<T>): Promise<T>;
  /** Lets go of the sessions of a connection; calls under way may end. */
  forget(uid: string): void;
  /** Closes the sessions of a connection; with `belowVersion`, those of its older targets only. */
  end(uid: string, belowVersion?: number): void;
  /** Closes all. */
  close(): void;
}
