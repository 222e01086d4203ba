import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import type { AuditEntry } from '../audit/entry.ts';
import { errorMessage } from '../mcp/answer.ts';
import { contentHeaders, mediaType, sessionHeader, singleValue } from '../mcp/headers.ts';
import { messageEvent } from '../mcp/message-event.ts';
import { concat } from '../platform/concat.ts';
import type { Limits } from '../platform/limits.ts';
import { redirectPath, tooLarge } from '../upstream/exchange.ts';
import { faultOfContentType, faultOfError, UpstreamFault } from '../upstream/fault.ts';
import type { Deadlines, Expiring } from './deadlines.ts';
import { judgeAnswer, readError, readErrorEvent, smallAnswerBytes } from './read-answer-bytes.ts';
import type { Downstream, RelayCall, RelayEvents } from './relay-call.ts';
import { restoreId } from './restore-id.ts';
import { StreamWriter } from './stream-writer.ts';

export interface RelayDeps {
  dispatcher: Dispatcher;
  limits: Limits;
  deadlines: Deadlines;
  /** Clock of the deadlines. */
  elapsed: () => number;
}

/**
 * Passes one JSON-RPC message to the upstream and the bytes of the answer back, unparsed: undici's dispatch
 * straight to the response. JSON is held back up to a limit, so that a cut-off can still be answered properly;
 * events stream as they come, with back-pressure.
 */
export function relay(deps: RelayDeps, call: RelayCall, downstream: Downstream, events: RelayEvents): void {
  if (downstream.response.destroyed) {
    events.abandoned();
    return;
  }
  new Relay(deps, call, downstream, events).dispatch(call.target.path);
}

/** What is being done with the body of the upstream's answer. */
type Mode = 'hold' | 'peek' | 'stream' | 'judge';

class Relay implements Dispatcher.DispatchHandler, Expiring {
  deadline = 0;
  slot = -1;
  readonly #deps: RelayDeps;
  readonly #call: RelayCall;
  readonly #response: ServerResponse;
  readonly #answerHeaders: OutgoingHttpHeaders;
  readonly #entry: AuditEntry;
  readonly #events: RelayEvents;
  readonly #startedAt: number;
  #controller: Dispatcher.DispatchController | undefined;
  /** The hop that a redirect ended; what it still says does not count. */
  #left: Dispatcher.DispatchController | undefined;
  #path = '';
  #redirectsLeft: number;
  #mode: Mode = 'judge';
  #isEvents = false;
  #status = 0;
  #headers: Record<string, string | string[] | undefined> = {};
  #held: Buffer[] = [];
  #bytes = 0;
  /** When time is up on an event stream; its deadline comes earlier, for a comment. */
  #timeUp = 0;
  /** There once the answer streams. */
  #writer: StreamWriter | undefined;
  #isPaused = false;
  #ended = false;

  constructor(
    deps: RelayDeps,
    call: RelayCall,
    { response, headers, entry }: Downstream,
    events: RelayEvents,
  ) {
    this.#deps = deps;
    this.#call = call;
    this.#response = response;
    this.#answerHeaders = headers;
    this.#entry = entry;
    this.#events = events;
    this.#redirectsLeft = deps.limits.redirects;
    this.#startedAt = deps.elapsed();
    // It stays: a call ends with its response, and to take it off again costs as much as to add it.
    response.on('close', () => this.#abandon());
  }

  dispatch(path: string): void {
    const { target, body, headers } = this.#call;
    this.#path = path;
    this.#deps.deadlines.set(this, this.#startedAt + target.timeLimits.callTimeoutMs);
    this.#deps.dispatcher.dispatch(
      {
        origin: target.origin,
        path,
        method: 'POST',
        headers: [...contentHeaders, ...target.headers.reveal(), ...headers],
        body,
      },
      this,
    );
  }

  /** Called by `Deadlines` when time is up. */
  expire(): void {
    if (this.#deps.elapsed() < this.#timeUp) {
      // A refusal would have come at once.
      if (this.#mode === 'peek') this.#startStream(true);
      if (this.#isEvents) return this.#keepAlive();
    }
    this.#fail(new UpstreamFault('timeout', 'upstream did not answer in time'));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#ended) controller.abort(new Error('the caller went away'));
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (this.#ended) return;
    this.#status = status;
    this.#headers = headers;
    if (status >= 300 && status < 400) return this.#redirect(controller, status);
    const contentType = singleValue(headers['content-type']);
    const type = mediaType(contentType);
    if (status < 200 || status > 299) {
      if (type !== 'application/json') return this.#refuse(undefined);
      this.#mode = 'judge';
      return;
    }
    if (this.#call.id === undefined) {
      this.#accept();
      // Nothing is to come of an open stream; an ordinary body ends by itself.
      if (type === 'text/event-stream') controller.abort(new Error('a notification has no answer'));
      return;
    }
    if (headers['content-encoding'] !== undefined) {
      return this.#fail(
        new UpstreamFault('wrong_answer', 'upstream answered in an encoding that was not asked for'),
      );
    }
    if (type === 'text/event-stream') {
      if (this.#call.mayBeLost) this.#awaitFirstEvent();
      else this.#startStream(true);
    } else if (type === 'application/json') {
      this.#mode = 'hold';
      if (Number(singleValue(headers['content-length'])) > this.#deps.limits.relayedAnswerBytes) {
        return this.#fail(tooLarge(this.#deps.limits.relayedAnswerBytes));
      }
    } else this.#fail(faultOfContentType(contentType));
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (controller === this.#left) return;
    // Answered already, without a look at the body: let go of it and of its socket.
    if (this.#ended) return controller.abort(new Error('nobody reads this'));
    const { limits } = this.#deps;
    this.#bytes += chunk.length;
    if (this.#mode === 'stream') {
      if (!this.#isEvents && this.#bytes > limits.relayedAnswerBytes) {
        return this.#fail(tooLarge(limits.relayedAnswerBytes));
      }
      this.#writer?.add(chunk);
      return;
    }
    if (this.#mode === 'peek') return this.#peek(controller, chunk);
    if (this.#bytes > limits.heldAnswerBytes) {
      if (this.#mode === 'judge') return this.#refuse(undefined);
      this.#held.push(chunk);
      const held = this.#held;
      this.#held = [];
      if (!this.#startStream(false).write(Buffer.concat(held))) this.#pause();
      return;
    }
    this.#held.push(chunk);
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    if (this.#ended || controller === this.#left) return;
    switch (this.#mode) {
      case 'stream': {
        this.#writer?.flush();
        if (this.#isEvents && !this.#writer?.isAnswered && !this.#call.isResumable) {
          return this.#fail(
            new UpstreamFault('cut_off', 'upstream ended its event stream without an answer'),
          );
        }
        this.#finish();
        this.#response.end();
        this.#events.answered();
        return;
      }
      case 'hold':
        return this.#endHeld();
      case 'peek':
        return this.#fail(new UpstreamFault('cut_off', 'upstream ended its event stream without an answer'));
      case 'judge':
        return this.#refuse(readError(concat(this.#held).toString('latin1')));
    }
  }

  onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#ended || (controller !== undefined && controller === this.#left)) return;
    this.#fail(faultOfError(error));
  }

  #endHeld(): void {
    // As text of one character a byte: it is searched faster than a Buffer, and Node writes head and text as one piece.
    const body = concat(this.#held).toString('latin1');
    const { problem, error } = judgeAnswer(body, this.#call.replacedId?.ours ?? this.#call.id);
    // A success that may be a refusal in disguise.
    if (error) return this.#refuse({ ...error, body });
    if (problem) return this.#fail(new UpstreamFault('wrong_answer', `not an MCP server: ${problem}`));
    this.#sendJson(200, body);
    this.#events.answered();
  }

  /** The first bytes of an event stream in a session that may be lost: an error at once may say just that. */
  #peek(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const error = chunk.length < smallAnswerBytes ? readErrorEvent(chunk) : undefined;
    if (error) {
      const pass = () => {
        this.#entry.answeredError(error.code);
        const writer = this.#startStream(true);
        writer.write(chunk);
        writer.flush();
        this.#response.end();
      };
      this.#refuse(error, pass);
      controller.abort(new Error('refused'));
      return;
    }
    if (!this.#startStream(true).write(chunk)) this.#pause();
  }

  /** `body` has a character for each byte. */
  #sendJson(status: number, body: string): void {
    const { replacedId } = this.#call;
    const restored = replacedId ? restoreId(body, replacedId.ours, replacedId.theirs) : body;
    this.#finish();
    this.#response.writeHead(status, {
      ...this.#passedHeaders(),
      'content-type': 'application/json',
      'content-length': restored.length,
    });
    this.#entry.bytesOut = restored.length;
    this.#response.end(restored, 'latin1');
  }

  /** A notification was taken (MCP 2025-11-25, basic/transports: 202 without a body). */
  #accept(): void {
    this.#finish();
    this.#response.writeHead(202, { ...this.#answerHeaders, 'content-length': 0 });
    this.#response.end();
    this.#events.answered();
  }

  #refuse(
    error: { code: number; body: string } | undefined,
    pass = error &&
      (() => {
        this.#entry.answeredError(error.code);
        this.#sendJson(this.#status, error.body);
      }),
  ): void {
    this.#finish();
    this.#events.refused({
      status: this.#status,
      rpcCode: error?.code,
      retryAfter: singleValue(this.#headers['retry-after']),
      challenge: singleValue(this.#headers['www-authenticate']),
      pass,
    });
  }

  #redirect(controller: Dispatcher.DispatchController, status: number): void {
    const location = singleValue(this.#headers.location);
    try {
      const next = redirectPath(this.#call.target, this.#path, status, location, this.#redirectsLeft--);
      this.#left = controller;
      this.#controller = undefined;
      this.dispatch(next);
    } catch (fault) {
      this.#fail(faultOfError(fault));
    }
    controller.abort(new Error('redirected'));
  }

  #startStream(isEvents: boolean): StreamWriter {
    this.#mode = 'stream';
    this.#isEvents = isEvents;
    const { replacedId } = this.#call;
    const written = (canTakeMore: boolean) => this.#passedOn(canTakeMore);
    this.#writer = new StreamWriter(this.#response, this.#entry, isEvents, replacedId, written);
    this.#response.writeHead(200, {
      ...this.#passedHeaders(),
      'content-type': isEvents ? 'text/event-stream' : 'application/json',
      ...(isEvents ? { 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no' } : {}),
    });
    if (isEvents && !this.#ended) {
      this.#writer.begin();
      this.#deps.deadlines.set(this, this.#eventDeadline());
    }
    return this.#writer;
  }

  #awaitFirstEvent(): void {
    const { deadlines, elapsed, limits } = this.#deps;
    this.#mode = 'peek';
    this.#timeUp = this.#startedAt + this.#call.target.timeLimits.callTimeoutMs;
    deadlines.set(this, Math.min(this.#timeUp, elapsed() + limits.streamKeepAliveMs));
  }

  #eventDeadline(): number {
    const { idleTimeoutMs, maxCallMs } = this.#call.target.timeLimits;
    const now = this.#deps.elapsed();
    this.#timeUp = Math.min(now + idleTimeoutMs, this.#startedAt + maxCallMs);
    return Math.min(this.#timeUp, now + this.#deps.limits.streamKeepAliveMs);
  }

  /** Nothing came for a while: a comment keeps what lies between from closing the stream, and is no news of the upstream. */
  #keepAlive(): void {
    const { deadlines, elapsed, limits } = this.#deps;
    this.#writer?.comment();
    deadlines.set(this, Math.min(this.#timeUp, elapsed() + limits.streamKeepAliveMs));
  }

  /** What came in one tick was written. */
  #passedOn(canTakeMore: boolean): void {
    if (this.#ended) return;
    if (this.#isEvents && !this.#isPaused) this.#deps.deadlines.set(this, this.#eventDeadline());
    if (!canTakeMore) this.#pause();
  }

  /** A slow reader slows the upstream down instead of filling this process. */
  #pause(): void {
    const { deadlines, elapsed } = this.#deps;
    const { callTimeoutMs, maxCallMs } = this.#call.target.timeLimits;
    const controller = this.#controller;
    if (this.#isPaused || !controller) return;
    this.#isPaused = true;
    controller.pause();
    // The reader is slow, not the upstream.
    const last = this.#startedAt + maxCallMs;
    this.#timeUp = last;
    deadlines.set(this, last);
    this.#response.once('drain', () => {
      this.#isPaused = false;
      if (this.#ended) return;
      deadlines.set(this, this.#isEvents ? this.#eventDeadline() : Math.min(elapsed() + callTimeoutMs, last));
      controller.resume();
    });
  }

  #fail(fault: UpstreamFault): void {
    const sent = this.#response.headersSent;
    this.#writer?.flushTick();
    this.#finish();
    this.#controller?.abort(fault);
    if (this.#status !== 0) fault.notOnTheWay();
    if (sent) {
      this.#entry.failed(fault.toApiError().code);
      if (this.#isEvents && !this.#call.isResumable) {
        // The blank line ends a half-sent event; then the error, as the last word on this request.
        const message = errorMessage(fault.toApiError(), this.#call.id);
        this.#response.end(`\n\n${messageEvent(message)}`);
      } else this.#response.destroy();
    }
    this.#events.failed(fault, sent);
  }

  #abandon(): void {
    if (this.#ended) return;
    this.#finish();
    this.#controller?.abort(new Error('the caller went away'));
    this.#events.abandoned();
  }

  #finish(): void {
    this.#ended = true;
    this.#deps.deadlines.delete(this);
  }

  #passedHeaders(): OutgoingHttpHeaders {
    const retryAfter = singleValue(this.#headers['retry-after']);
    const session = this.#call.sealSession && singleValue(this.#headers[sessionHeader]);
    if (retryAfter === undefined && session === undefined) return this.#answerHeaders;
    return {
      ...this.#answerHeaders,
      ...(retryAfter !== undefined && { 'retry-after': retryAfter }),
      ...(session !== undefined && { [sessionHeader]: this.#call.sealSession?.(session) }),
    };
  }
}
