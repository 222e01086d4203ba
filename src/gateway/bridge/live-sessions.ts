import { fieldsOf } from '../../mcp/era-messages.ts';
import { isResponse, type RequestId } from '../../mcp/message.ts';
import { randomText } from '../../platform/ids.ts';

/** What a caller posts to answer a question: the members of a JSON-RPC response. */
export type Reply = { result: unknown } | { error: unknown };

/** What is under way in one session of a legacy caller. */
interface Live {
  /** How to cancel each call, by the id that the caller gave it. */
  calls: Map<RequestId, () => void>;
  /** Questions that wait for the caller, by the id that they were asked under. */
  questions: Map<RequestId, (reply: Reply) => void>;
  /** The caller's streams, which follow its subscriptions. */
  streams: Set<StreamOfSession>;
}

/** A stream that a caller opened with a GET. */
export interface StreamOfSession {
  /** The session's subscriptions have changed. */
  follow(): void;
  end(): void;
}

/**
 * What this process does for sessions of legacy callers in front of modern servers, by the hash of the session's id.
 * Nothing is kept of a session in which nothing is under way.
 */
export class LiveSessions {
  readonly #bySession = new Map<string, Live>();

  /** A call begins; `cancel` is called if the caller cancels it. Call the returned function once when it has ended. */
  begin(session: string, id: RequestId, cancel: () => void): () => void {
    const live = this.#open(session);
    live.calls.set(id, cancel);
    return () => {
      if (live.calls.get(id) === cancel) live.calls.delete(id);
      this.#tidy(session, live);
    };
  }

  /**
   * A question for the caller: the id to send it under, unguessable, and its reply. Rejects with the reason of `signal`.
   */
  ask(session: string, signal: AbortSignal): { id: string; reply: Promise<Reply> } {
    const live = this.#open(session);
    const id = `q-${randomText(16)}`;
    const reply = new Promise<Reply>((resolve, reject) => {
      const end = () => {
        live.questions.delete(id);
        signal.removeEventListener('abort', stop);
        this.#tidy(session, live);
      };
      const stop = () => {
        end();
        reject(signal.reason);
      };
      live.questions.set(id, (given) => {
        end();
        resolve(given);
      });
      if (signal.aborted) stop();
      else signal.addEventListener('abort', stop, { once: true });
    });
    return { id, reply };
  }

  /**
   * What the caller says beside its requests: a reply to a question, or that it cancels a call of its own (MCP 2025-11-25,
   * basic/utilities/cancellation). False if nothing here waited for it.
   */
  hear(session: string, message: unknown): boolean {
    const live = this.#bySession.get(session);
    const { id, params } = fieldsOf(message);
    if (isResponse(message)) {
      const answered = live?.questions.get(id as RequestId);
      answered?.(message as Reply);
      return answered !== undefined;
    }
    const cancel = live?.calls.get(fieldsOf(params).requestId as RequestId);
    cancel?.();
    return cancel !== undefined;
  }

  /** Whether anything is under way in the session here. */
  has(session: string): boolean {
    return this.#bySession.has(session);
  }

  /** A stream is open; call the returned function once when it has ended. */
  attach(session: string, stream: StreamOfSession): () => void {
    const live = this.#open(session);
    live.streams.add(stream);
    return () => {
      live.streams.delete(stream);
      this.#tidy(session, live);
    };
  }

  /** The subscriptions of the session have changed. */
  changed(session: string): void {
    for (const stream of this.#bySession.get(session)?.streams ?? []) stream.follow();
  }

  /** The session has ended. */
  end(session: string): void {
    const live = this.#bySession.get(session);
    if (!live) return;
    for (const cancel of [...live.calls.values()]) cancel();
    for (const stream of [...live.streams]) stream.end();
  }

  /** How many sessions have something under way. */
  get size(): number {
    return this.#bySession.size;
  }

  #open(session: string): Live {
    const known = this.#bySession.get(session);
    if (known) return known;
    const live = { calls: new Map(), questions: new Map(), streams: new Set<StreamOfSession>() };
    this.#bySession.set(session, live);
    return live;
  }

  #tidy(session: string, live: Live): void {
    if (live.calls.size + live.questions.size + live.streams.size === 0) this.#bySession.delete(session);
  }
}
