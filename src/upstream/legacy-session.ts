import type { RpcAnswer } from '../mcp/answer.ts';
import type { RequestId } from '../mcp/message.ts';
import { UpstreamFault } from './fault.ts';
import type { Target } from './target.ts';

/** What an upstream sends besides answers: a notification, or, with an id, a request to its client. */
export interface UpstreamMessage {
  method: string;
  id?: RequestId;
  params?: Record<string, unknown>;
}

/** Who opens a session, and what they can do: servers offer each client what it declared (MCP 2025-11-25, basic/lifecycle). */
export interface LegacyClient {
  /** The revision asked for; the server may agree on another. */
  revision: string;
  capabilities: Record<string, unknown>;
  clientInfo: Record<string, unknown>;
}

/** What a request in a session is sent with. */
export interface SessionRequest {
  method: string;
  params: Record<string, unknown> | undefined;
  /** Hears what the upstream sends about this request before its answer, in order. */
  onMessage: (message: UpstreamMessage) => void | Promise<void>;
  /** Aborting it tells the upstream that the request is cancelled (MCP 2025-11-25, basic/utilities/cancellation). */
  signal: AbortSignal;
}

/**
 * A live session with a legacy upstream, as messages, whatever the transport: what the bridge talks to. Pings of the
 * server are answered by the session itself.
 */
export interface LegacySession {
  /** The revision that was agreed on. */
  readonly revision: string;
  /** InitializeResult as the upstream gave it. */
  readonly result: Record<string, unknown>;
  /**
   * Resolves with the answer, JSON-RPC errors included. Throws SessionLost if the upstream no longer knows the
   * session, so the request did not run; UpstreamFault otherwise.
   */
  request(request: SessionRequest): Promise<RpcAnswer>;
  /** Sends a notification. Throws like `request`. */
  notify(method: string, params: Record<string, unknown> | undefined): Promise<void>;
  /** Answers a request of the upstream, with `result` or `error` as members. Throws like `request`. */
  respond(id: RequestId, answer: { result: unknown } | { error: unknown }): Promise<void>;
  /**
   * Hears what belongs to no request, from now on, in place of who listened before; resolves once that is arranged,
   * and false where the server offers no such stream. Throws like `request`.
   */
  listen(onMessage: (message: UpstreamMessage) => void | Promise<void>): Promise<boolean>;
  /** From now on uses the credentials of `target`: the same connection, whose token may have been renewed since. */
  retarget(target: Target): void;
  /** Aborted when the session has ended, whoever ended it. */
  readonly ended: AbortSignal;
  /** Ends it, also at the upstream. Never throws. */
  close(): Promise<void>;
}

/** The upstream does not know the session any more, so what was sent in it did not run. */
export class SessionLost extends UpstreamFault {
  constructor(cause?: unknown) {
    super('cut_off', 'upstream lost the session', cause);
  }
}
