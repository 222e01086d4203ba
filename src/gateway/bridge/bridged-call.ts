import type { RpcAnswer } from '../../mcp/answer.ts';
import { askingMethods, type Envelope, isFields, questions } from '../../mcp/era-messages.ts';
import type { RequestId } from '../../mcp/message.ts';
import { type ChangeFeed, isChange } from '../../upstream/change-feed.ts';
import type { UpstreamMessage } from '../../upstream/legacy-session.ts';
import type { Lease } from '../../upstream/session-leases.ts';
import type { TimeLimits } from '../../upstream/target.ts';
import type { RelayDeps } from '../relay.ts';
import type { AnswerStream } from './answer-stream.ts';
import { CallTimer } from './call-timer.ts';

/** A question of the upstream that waits for its answer. */
interface Question {
  id: RequestId;
  method: string;
  params: Record<string, unknown> | undefined;
}

/** How far a call has come: it is answered, or the upstream asks, by a key for each question. */
export type Progress =
  | { kind: 'answered'; answer: RpcAnswer }
  | { kind: 'asks'; questions: Map<string, Question> };

export interface CallParts {
  /** The connection's row. */
  uid: string;
  timeLimits: TimeLimits;
  method: string;
  params: Record<string, unknown> | undefined;
  envelope: Envelope;
}

/**
 * A modern client's request under way at a legacy server. The server may ask back in the middle of it; a modern client
 * answers that with another POST, so the call outlives the one that began it (MCP 2026-07-28, basic/patterns/mrtr).
 */
export class BridgedCall {
  readonly parts: CallParts;
  /** Resolves when it is over, however it ended. */
  readonly ended: Promise<void>;
  readonly #lease: Lease;
  readonly #feed: ChangeFeed;
  readonly #timer: CallTimer;
  readonly #answer: Promise<RpcAnswer>;
  readonly #questions = new Map<string, Question>();
  #lastKey = 0;
  #stream: AnswerStream | undefined;
  #wake = () => {};

  constructor(deps: RelayDeps, feed: ChangeFeed, lease: Lease, parts: CallParts) {
    this.parts = parts;
    this.#lease = lease;
    this.#feed = feed;
    this.#timer = new CallTimer(deps, parts.timeLimits);
    lease.onMessage = (message) => this.#hear(message);
    this.#answer = this.#ask().finally(() => this.#timer.end());
    this.ended = this.#answer.then(
      () => this.#lease.release(),
      () => this.#lease.drop(),
    );
  }

  /** Goes on until there is an answer or a question. `stream` takes what comes before. Throws UpstreamFault. */
  async proceed(stream: AnswerStream): Promise<Progress> {
    this.#stream = stream;
    const leave = () => this.cancel();
    stream.left.addEventListener('abort', leave, { once: true });
    if (stream.left.aborted) leave();
    try {
      const asked = new Promise<undefined>((resolve) => {
        this.#wake = () => resolve(undefined);
      });
      if (this.#questions.size > 0) this.#wake();
      const answer = await Promise.race([this.#answer, asked]);
      if (answer) return { kind: 'answered', answer };
      // What is asked in the same breath is answered together.
      await new Promise((resolve) => setImmediate(resolve));
      this.#timer.askedAPerson();
      return { kind: 'asks', questions: new Map(this.#questions) };
    } finally {
      stream.left.removeEventListener('abort', leave);
      this.#stream = undefined;
    }
  }

  /** Hands on the answers that a client brings, by key; those of other keys do not count. */
  async reply(responses: Record<string, unknown>): Promise<void> {
    for (const [key, { id }] of [...this.#questions]) {
      const response = Object.hasOwn(responses, key) ? responses[key] : undefined;
      if (!isFields(response)) continue;
      this.#questions.delete(key);
      await this.#lease.session.respond(id, { result: response });
    }
    if (this.#questions.size === 0) this.#timer.heard();
  }

  /** Nobody waits for it any more. */
  cancel(): void {
    this.#timer.abort(new Error('the caller went away'));
  }

  async #ask(): Promise<RpcAnswer> {
    const { method, params, envelope } = this.parts;
    const { session } = this.#lease;
    const { signal } = this.#timer;
    if (envelope.logLevel !== undefined && envelope.logLevel !== this.#lease.logLevel) {
      const level = { level: envelope.logLevel };
      // A server without logging refuses, and logs nothing either way.
      await session.request({ method: 'logging/setLevel', params: level, onMessage: () => {}, signal });
      this.#lease.logLevel = envelope.logLevel;
    }
    return session.request({ method, params, onMessage: (message) => this.#hear(message), signal });
  }

  async #hear(message: UpstreamMessage): Promise<void> {
    if (this.#questions.size === 0) this.#timer.heard();
    const { id, method, params } = message;
    if (id !== undefined) {
      if (questions.has(method) && askingMethods.has(this.parts.method)) {
        this.#questions.set(`question-${++this.#lastKey}`, { id, method, params });
        this.#wake();
        return;
      }
      const error = { code: -32601, message: 'Method not found' };
      await this.#lease.session.respond(id, { error });
      return;
    }
    if (isChange(message)) return this.#feed.tell(this.parts.uid, message);
    if (method === 'notifications/cancelled') return this.#withdraw(params?.requestId);
    // Modern clients hear of the end of an elicitation from their own user (MCP 2026-07-28, client/elicitation).
    if (method === 'notifications/elicitation/complete') return;
    // Without a log level there are no log messages (MCP 2026-07-28, server/utilities/logging).
    if (method === 'notifications/message' && this.parts.envelope.logLevel === undefined) return;
    await this.#stream?.send({ jsonrpc: '2.0', method, ...(params === undefined ? {} : { params }) });
  }

  #withdraw(requestId: unknown): void {
    for (const [key, question] of this.#questions) if (question.id === requestId) this.#questions.delete(key);
  }
}
