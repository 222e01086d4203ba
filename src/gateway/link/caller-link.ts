import type { RpcAnswer } from '../../mcp/answer.ts';
import type { RequestId } from '../../mcp/message.ts';
import type { LegacySession, SessionRequest, UpstreamMessage } from '../../upstream/legacy-session.ts';
import type { OwnSession } from '../../upstream/link-sessions.ts';
import type { AnswerStream } from '../bridge/answer-stream.ts';
import type { CallTimer } from '../bridge/call-timer.ts';
import type { MessageQueue } from './message-queue.ts';

/** One POST under way. */
interface Call {
  stream: AnswerStream;
  timer: CallTimer;
}

/**
 * Joins a legacy caller of Streamable HTTP with its session over a link. There one channel brings everything; here a
 * message belongs on exactly one of several (MCP 2025-11-25, basic/transports): answers and progress on that of their
 * POST; the rest on that of a call under way, which it most likely is about, else on that of a GET, else it waits for one.
 */
export class CallerLink {
  readonly session: LegacySession;
  readonly #own: OwnSession;
  readonly #calls = new Map<RequestId, Call>();
  readonly #streams = new Set<AnswerStream>();
  readonly #queue: MessageQueue;

  /** Whoever listens to the session of `own` must hand on what comes to `hear`; `queue` is what came before. */
  constructor(own: OwnSession, queue: MessageQueue) {
    this.#own = own;
    this.#queue = queue;
    this.session = own.session;
  }

  /** Sends the caller's request `id`, whose POST `stream` answers. Throws SessionLost and UpstreamFault. */
  async ask(
    id: RequestId,
    { method, params }: Pick<SessionRequest, 'method' | 'params'>,
    stream: AnswerStream,
    timer: CallTimer,
  ): Promise<RpcAnswer> {
    const end = this.#own.begin();
    const call = { stream, timer };
    this.#calls.set(id, call);
    this.#flush(stream);
    try {
      return await this.session.request({
        method,
        params,
        onMessage: (message) => {
          timer.heard();
          return stream.send(toSend(message));
        },
        signal: timer.signal,
      });
    } finally {
      if (this.#calls.get(id) === call) this.#calls.delete(id);
      end();
    }
  }

  /** The caller gives up its request `id`; the server is told, under the id that it knows. */
  cancel(id: unknown): void {
    this.#calls.get(id as RequestId)?.timer.abort(new Cancelled());
  }

  /** Does `work` for a message that has no answer; meanwhile the session is not idle. Throws what it throws. */
  async use(work: (session: LegacySession) => Promise<void>): Promise<void> {
    const end = this.#own.begin();
    try {
      await work(this.session);
    } finally {
      end();
    }
  }

  /** Takes the stream of a GET until its caller leaves or the session ends. */
  attach(stream: AnswerStream): void {
    const end = this.#own.begin();
    this.#streams.add(stream);
    const detach = () => {
      this.#streams.delete(stream);
      stream.close();
      end();
    };
    const over = AbortSignal.any([stream.left, this.session.ended]);
    over.addEventListener('abort', detach);
    stream.open();
    this.#flush(stream);
    if (over.aborted) detach();
  }

  /** Takes what the server says outside of its answers; resolves when the caller can take the next. */
  async hear(message: UpstreamMessage): Promise<void> {
    const call = [...this.#calls.values()].findLast(({ stream }) => isOpen(stream));
    call?.timer.heard();
    const stream = call?.stream ?? [...this.#streams].findLast(isOpen);
    if (stream) await stream.send(toSend(message));
    else this.#queue.add(toSend(message));
  }

  #flush(stream: AnswerStream): void {
    if (!isOpen(stream)) return;
    for (const message of this.#queue.take()) void stream.send(message);
  }
}

/** The caller said that it waits for the answer no longer. */
export class Cancelled extends Error {
  constructor() {
    super('the caller cancelled the request');
    this.name = 'Cancelled';
  }
}

function isOpen(stream: AnswerStream): boolean {
  return stream.takesEvents && !stream.isOver;
}

/** A message of the server as it goes to the caller. */
export function toSend({ method, id, params }: UpstreamMessage): Record<string, unknown> {
  return { jsonrpc: '2.0', ...(id !== undefined && { id }), method, ...(params && { params }) };
}
