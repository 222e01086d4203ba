import type { RpcAnswer } from '../../mcp/answer.ts';
import { toMessage } from '../../mcp/era-messages.ts';
import type { RequestId } from '../../mcp/message.ts';
import { messageEvent } from '../../mcp/message-event.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Limits } from '../../platform/limits.ts';
import type { Downstream } from '../relay-call.ts';
import { writeJson } from '../write-json.ts';

/**
 * The answer to one POST: one JSON document, or an event stream as soon as something is to be said before it, or the
 * answer is long in coming (MCP 2025-11-25, basic/transports).
 */
export class AnswerStream {
  /** Aborted when the caller goes away before the end. */
  readonly left: AbortSignal;
  readonly #downstream: Downstream;
  readonly #clock: Clock;
  readonly #keepAliveMs: number;
  readonly #takesEvents: boolean;
  #isStream = false;
  #ended = false;
  #cancelKeepAlive = () => {};

  /** `accept` is the caller's header of that name. */
  constructor(
    { clock, limits }: { clock: Clock; limits: Limits },
    downstream: Downstream,
    accept: string | undefined,
  ) {
    this.#downstream = downstream;
    this.#clock = clock;
    this.#keepAliveMs = limits.streamKeepAliveMs;
    this.#takesEvents = accept === undefined || /text\/event-stream|\*\/\*/.test(accept);
    const left = new AbortController();
    this.left = left.signal;
    const leave = () => {
      this.#cancelKeepAlive();
      if (!this.#ended) left.abort(new Error('the caller went away'));
    };
    if (downstream.response.destroyed) leave();
    else downstream.response.once('close', leave);
    if (this.#takesEvents) this.#keepAlive();
  }

  /** Whether nothing more can be said. */
  get isOver(): boolean {
    return this.#ended || this.left.aborted;
  }

  /** Whether the caller takes messages ahead of the answer. */
  get takesEvents(): boolean {
    return this.#takesEvents;
  }

  /** Sends a message; resolves when the caller can take the next. Dropped where the caller takes no events. */
  async send(message: unknown): Promise<void> {
    if (this.isOver || !this.#takesEvents) return;
    this.#open();
    if (this.#write(messageEvent(message))) return;
    const { response } = this.#downstream;
    await new Promise<void>((resolve) => {
      const go = () => {
        response.off('drain', go);
        response.off('close', go);
        resolve();
      };
      response.once('drain', go);
      response.once('close', go);
    });
  }

  /** Opens the stream before there is anything to send. */
  open(): void {
    if (!this.isOver) this.#open();
  }

  /** Sends what the upstream answered, and ends; the audit hears how it went. `status` counts unless the stream has begun. */
  answer(status: number, id: RequestId, answer: RpcAnswer, headers: Record<string, string> = {}): void {
    if (answer.kind === 'error') this.#downstream.entry.answeredError(answer.code);
    else if (answer.result.isError === true) this.#downstream.entry.toolFailed();
    this.end(status, toMessage(id, answer), headers);
  }

  /** Sends the last message, and ends. `status` counts unless the stream has begun. */
  end(status: number, message: unknown, headers: Record<string, string> = {}): void {
    if (this.isOver) return;
    this.#cancelKeepAlive();
    this.#ended = true;
    if (!this.#isStream) return writeJson(this.#downstream, status, message, headers);
    this.#write(messageEvent(message));
    this.#downstream.response.end();
  }

  /** Ends a stream that has no answer. */
  close(): void {
    if (this.isOver) return;
    this.#cancelKeepAlive();
    this.#ended = true;
    this.#downstream.response.end();
  }

  #open(): void {
    if (this.#isStream) return;
    this.#isStream = true;
    const { response, headers } = this.#downstream;
    response.writeHead(200, {
      ...headers,
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    });
    response.flushHeaders();
  }

  #write(text: string): boolean {
    const { response, entry } = this.#downstream;
    const bytes = Buffer.from(text);
    entry.bytesOut += bytes.length;
    return response.write(bytes);
  }

  /** A comment now and then keeps what lies between from closing an idle stream. */
  #keepAlive(): void {
    this.#cancelKeepAlive = this.#clock.after(this.#keepAliveMs, () => {
      if (this.isOver) return;
      this.#open();
      if (!this.#downstream.response.writableNeedDrain) this.#write(': keep-alive\n\n');
      this.#keepAlive();
    });
  }
}
