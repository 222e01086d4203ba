import type { OutgoingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import { mediaType, singleValue } from '../mcp/headers.ts';
import { redirectPath } from '../upstream/exchange.ts';
import { faultOfError, faultOfStatus, UpstreamFault } from '../upstream/fault.ts';
import type { Target } from '../upstream/target.ts';
import type { Expiring } from './deadlines.ts';
import { EventBoundary, keepAliveComment } from './event-boundary.ts';
import type { RelayDeps } from './relay.ts';
import type { Downstream } from './relay-call.ts';

/** What the owner of a stream is told, unless the caller goes away first; nothing was sent to the caller yet. */
export interface StreamEvents {
  opened(): void;
  /** `status` is the HTTP status that the upstream answered, if it did. */
  failed(fault: UpstreamFault, status: number | undefined): void;
}

/**
 * Opens the upstream's stream of a session (MCP 2025-11-25, basic/transports: GET) and passes its bytes on for as long
 * as both sides stay. A comment now and then keeps what lies between from closing an idle one.
 */
export function openStream(
  deps: RelayDeps,
  target: Target,
  headers: readonly string[],
  downstream: Downstream,
  events: StreamEvents,
): void {
  // Finding the session may have outlasted the caller, and then nothing would ever close the stream.
  if (downstream.response.destroyed) return;
  new StreamRelay(deps, target, headers, downstream, events).dispatch(target.path);
}

class StreamRelay implements Dispatcher.DispatchHandler, Expiring {
  deadline = 0;
  slot = -1;
  readonly #deps: RelayDeps;
  readonly #target: Target;
  readonly #headers: readonly string[];
  readonly #downstream: Downstream;
  readonly #events: StreamEvents;
  #controller: Dispatcher.DispatchController | undefined;
  /** The hop that a redirect ended; what it still says does not count. */
  #left: Dispatcher.DispatchController | undefined;
  #path = '';
  #redirectsLeft: number;
  #isOpen = false;
  #ended = false;
  readonly #boundary = new EventBoundary();

  constructor(
    deps: RelayDeps,
    target: Target,
    headers: readonly string[],
    downstream: Downstream,
    events: StreamEvents,
  ) {
    this.#deps = deps;
    this.#target = target;
    this.#headers = headers;
    this.#downstream = downstream;
    this.#events = events;
    this.#redirectsLeft = deps.limits.redirects;
    downstream.response.once('close', () => this.#leave());
  }

  dispatch(path: string): void {
    const { origin, headers: own, timeLimits } = this.#target;
    this.#path = path;
    const { deadlines, elapsed, dispatcher } = this.#deps;
    deadlines.set(this, elapsed() + timeLimits.callTimeoutMs);
    dispatcher.dispatch(
      {
        origin,
        path,
        method: 'GET',
        headers: ['accept', 'text/event-stream', ...own.reveal(), ...this.#headers],
      },
      this,
    );
  }

  /** Called by `Deadlines`: the upstream did not answer in time, or has said nothing for a while on an open stream. */
  expire(): void {
    if (this.#isOpen) return this.#keepAlive();
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
    if (status >= 300 && status < 400) {
      return this.#redirect(controller, status, singleValue(headers.location));
    }
    const type = mediaType(singleValue(headers['content-type']));
    if (status !== 200 || type !== 'text/event-stream') {
      this.#fail(
        faultOfStatus(status, this.#target, {
          retryAfter: singleValue(headers['retry-after']),
          challenge: singleValue(headers['www-authenticate']),
        }),
        status,
      );
      controller.abort(new Error('refused'));
      return;
    }
    this.#isOpen = true;
    const { response, headers: shared } = this.#downstream;
    const answer: OutgoingHttpHeaders = {
      ...shared,
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    };
    response.writeHead(200, answer);
    response.flushHeaders();
    this.#awaitSilence();
    this.#events.opened();
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#ended || controller === this.#left) return;
    this.#awaitSilence();
    const { response } = this.#downstream;
    if (this.#send(chunk)) return;
    controller.pause();
    response.once('drain', () => {
      if (!this.#ended) controller.resume();
    });
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    if (this.#ended || controller === this.#left) return;
    this.#finish();
    this.#downstream.response.end();
  }

  onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#ended || (controller !== undefined && controller === this.#left)) return;
    this.#fail(faultOfError(error));
  }

  #redirect(controller: Dispatcher.DispatchController, status: number, location: string | undefined): void {
    try {
      const next = redirectPath(this.#target, this.#path, status, location, this.#redirectsLeft--);
      this.#left = controller;
      this.#controller = undefined;
      this.dispatch(next);
    } catch (fault) {
      this.#fail(faultOfError(fault), status);
    }
    controller.abort(new Error('redirected'));
  }

  #send(bytes: Buffer): boolean {
    const { response, entry } = this.#downstream;
    entry.bytesOut += bytes.length;
    this.#boundary.look(bytes);
    return response.write(bytes);
  }

  #awaitSilence(): void {
    const { deadlines, elapsed, limits } = this.#deps;
    deadlines.set(this, elapsed() + limits.streamKeepAliveMs);
  }

  #keepAlive(): void {
    if (this.#boundary.isHere && !this.#downstream.response.writableNeedDrain) this.#send(keepAliveComment);
    this.#awaitSilence();
  }

  #fail(fault: UpstreamFault, status?: number): void {
    const wasOpen = this.#isOpen;
    this.#finish();
    this.#controller?.abort(fault);
    // A stream that breaks may be resumed; cutting it off says so, an orderly end would not.
    if (wasOpen) this.#downstream.response.destroy();
    else this.#events.failed(fault, status);
  }

  #leave(): void {
    if (this.#ended) return;
    this.#finish();
    this.#controller?.abort(new Error('the caller went away'));
  }

  #finish(): void {
    this.#ended = true;
    this.#deps.deadlines.delete(this);
  }
}
