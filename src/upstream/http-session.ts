import type { Dispatcher } from 'undici';
import { type RpcAnswer, readAnswer } from '../mcp/answer.ts';
import { singleValue } from '../mcp/headers.ts';
import type { RequestId } from '../mcp/message.ts';
import { tellCancelled } from './cancel.ts';
import { discard, isEventStream, post, readJsonAnswer, readMessages, type Transport } from './exchange.ts';
import { faultOfError, faultOfStatus, isFaultStatus, UpstreamFault } from './fault.ts';
import {
  type LegacyClient,
  type LegacySession,
  SessionLost,
  type SessionRequest,
  type UpstreamMessage,
} from './legacy-session.ts';
import { isSessionLost, maySayLostSession } from './lost-session.ts';
import { type OpenedSession, openSession, sessionHeaders } from './negotiate.ts';
import type { Target } from './target.ts';

type Listener = SessionRequest['onMessage'];

/** How long a broken stream is let rest before it is resumed, unless the server says (MCP 2025-11-25, basic/transports). */
const resumeAfterMs = 1000;

/** Opens a session over Streamable HTTP for `client`. Throws UpstreamFault. */
export async function openHttpSession(
  transport: Transport,
  target: Target,
  client: LegacyClient,
  deadline: AbortSignal,
): Promise<LegacySession> {
  return new HttpSession(transport, target, await openSession(transport, target, client, deadline));
}

class HttpSession implements LegacySession {
  readonly revision: string;
  readonly result: Record<string, unknown>;
  readonly #transport: Transport;
  readonly #opened: OpenedSession;
  readonly #headers: readonly string[];
  readonly #end = new AbortController();
  #target: Target;
  #lastId = 0;
  #listener: Listener | undefined;
  #isListening = false;

  constructor(transport: Transport, target: Target, opened: OpenedSession) {
    this.#transport = transport;
    this.#target = target;
    this.#opened = opened;
    this.#headers = sessionHeaders(opened);
    this.revision = opened.revision;
    this.result = opened.result;
  }

  get ended(): AbortSignal {
    return this.#end.signal;
  }

  retarget(target: Target): void {
    this.#target = target;
  }

  async request({ method, params, onMessage, signal }: SessionRequest): Promise<RpcAnswer> {
    const id = `b-${(this.#lastId++).toString(36)}`;
    const message = { jsonrpc: '2.0', id, method, ...(params === undefined ? {} : { params }) };
    const either = AbortSignal.any([signal, this.ended]);
    let isReached = false;
    try {
      const { dispatcher, limits } = this.#transport;
      const body = JSON.stringify(message);
      const response = await post(dispatcher, this.#target, body, this.#headers, either, limits.redirects);
      isReached = true;
      return await this.#readAnswer(response, id, onMessage, either);
    } catch (error) {
      if (signal.aborted) tellCancelled(this.#transport, this.#target, this.#headers, id);
      const fault = faultOfError(either.aborted ? (either.reason ?? error) : error);
      // A status of a proxy speaks for itself.
      throw isReached && fault.kind !== 'server_error' ? fault.notOnTheWay() : fault;
    }
  }

  async notify(method: string, params: Record<string, unknown> | undefined): Promise<void> {
    await this.#send({ jsonrpc: '2.0', method, ...(params === undefined ? {} : { params }) });
  }

  async respond(id: RequestId, answer: { result: unknown } | { error: unknown }): Promise<void> {
    await this.#send({ jsonrpc: '2.0', id, ...answer });
  }

  async listen(onMessage: Listener): Promise<boolean> {
    this.#listener = onMessage;
    if (this.#isListening) return true;
    const response = await this.#get(undefined, this.ended);
    if (!response) return false;
    this.#isListening = true;
    void this.#readStream(response);
    return true;
  }

  async close(): Promise<void> {
    if (this.ended.aborted) return;
    this.#end.abort(new SessionLost());
    const { id } = this.#opened;
    if (id === undefined) return;
    const { origin, path, headers } = this.#target;
    try {
      const { body } = await this.#transport.dispatcher.request({
        origin,
        path,
        method: 'DELETE',
        headers: [...headers.reveal(), ...this.#headers],
        signal: AbortSignal.timeout(this.#transport.limits.endSessionMs),
      });
      discard(body);
    } catch {
      // The server may refuse (405) or be gone: the session then ends with its own idle time.
    }
  }

  async #readAnswer(
    { statusCode: status, headers, body }: Dispatcher.ResponseData,
    id: string,
    onMessage: Listener,
    signal: AbortSignal,
  ): Promise<RpcAnswer> {
    const contentType = singleValue(headers['content-type']);
    try {
      if (isEventStream(status, contentType)) return await this.#readEvents(body, id, onMessage, signal);
      const answer = await readJsonAnswer(body, contentType, id, status, this.#transport.limits);
      const code = answer?.kind === 'error' ? answer.code : undefined;
      if (maySayLostSession(status, code)) await this.#throwIfLost();
      if (answer && !isFaultStatus(status)) return answer;
      throw faultOfStatus(status, this.#target, {
        retryAfter: singleValue(headers['retry-after']),
        challenge: singleValue(headers['www-authenticate']),
      });
    } finally {
      discard(body);
    }
  }

  /** A server may end the stream before the answer, for its client to come back for (2025-11-25, SSE polling). */
  async #readEvents(
    stream: Dispatcher.ResponseData['body'],
    id: string,
    onMessage: Listener,
    signal: AbortSignal,
  ): Promise<RpcAnswer> {
    let body = stream;
    let lastEventId: string | undefined;
    let waitMs = resumeAfterMs;
    for (;;) {
      try {
        for await (const event of readMessages(body, this.#transport.limits, (ms) => {
          waitMs = Math.min(ms, this.#transport.limits.resumeMaxMs);
        })) {
          lastEventId = event.id || lastEventId;
          const answer = readAnswer(event.message, id);
          if (answer) return answer;
          await this.#hear(event.message, onMessage);
        }
      } catch (error) {
        if (lastEventId === undefined || signal.aborted || error instanceof UpstreamFault) throw error;
      } finally {
        discard(body);
      }
      if (lastEventId === undefined) throw cutOff();
      await pause(waitMs, signal);
      const resumed = await this.#get(lastEventId, signal);
      if (!resumed) throw cutOff();
      body = resumed;
    }
  }

  /** Reads the stream that belongs to no request, and opens it again whenever it ends. */
  async #readStream(stream: Dispatcher.ResponseData['body']): Promise<void> {
    let body: typeof stream | undefined = stream;
    let lastEventId: string | undefined;
    let waitMs = resumeAfterMs;
    while (!this.ended.aborted) {
      try {
        body ??= await this.#get(lastEventId, this.ended);
        if (!body) break;
        for await (const event of readMessages(body, this.#transport.limits, (ms) => {
          waitMs = Math.min(ms, this.#transport.limits.resumeMaxMs);
        })) {
          lastEventId = event.id || lastEventId;
          await this.#hear(event.message, (message) => this.#listener?.(message));
        }
      } catch {
        // Broken, or refused for the moment; the next request in the session tells whether it is lost.
      }
      if (body) discard(body);
      body = undefined;
      await pause(waitMs, this.ended).catch(() => {});
    }
    this.#isListening = false;
  }

  async #hear(message: unknown, listener: (message: UpstreamMessage) => unknown): Promise<void> {
    if (typeof message !== 'object' || message === null) return;
    const { method, id } = message as Partial<UpstreamMessage>;
    if (typeof method !== 'string') return;
    if (method === 'ping' && id !== undefined) await this.respond(id, { result: {} });
    else await listener(message as UpstreamMessage);
  }

  /** The stream of a GET; undefined where the server has none. Throws UpstreamFault. */
  async #get(
    lastEventId: string | undefined,
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData['body'] | undefined> {
    const { origin, path, headers: own } = this.#target;
    const { statusCode, headers, body } = await this.#transport.dispatcher.request({
      origin,
      path,
      method: 'GET',
      headers: [
        ...own.reveal(),
        'accept',
        'text/event-stream',
        ...this.#headers,
        ...(lastEventId === undefined ? [] : ['last-event-id', lastEventId]),
      ],
      signal,
    });
    if (isEventStream(statusCode, singleValue(headers['content-type']))) return body;
    discard(body);
    if (statusCode === 405) return undefined;
    throw faultOfStatus(statusCode, this.#target, {
      retryAfter: singleValue(headers['retry-after']),
      challenge: singleValue(headers['www-authenticate']),
    });
  }

  async #send(message: Record<string, unknown>): Promise<void> {
    const signal = AbortSignal.timeout(this.#transport.limits.discoverMs);
    const { dispatcher, limits } = this.#transport;
    try {
      const body = JSON.stringify(message);
      const response = await post(dispatcher, this.#target, body, this.#headers, signal, limits.redirects);
      discard(response.body);
      const { statusCode: status, headers } = response;
      if (status < 300) return;
      if (maySayLostSession(status, undefined)) await this.#throwIfLost();
      throw faultOfStatus(status, this.#target, {
        retryAfter: singleValue(headers['retry-after']),
        challenge: singleValue(headers['www-authenticate']),
      });
    } catch (error) {
      throw faultOfError(error);
    }
  }

  async #throwIfLost(): Promise<void> {
    if (this.#opened.id === undefined) return;
    if (!(await isSessionLost(this.#transport, this.#target, this.#headers))) return;
    const lost = new SessionLost();
    this.#end.abort(lost);
    throw lost;
  }
}

function cutOff(): UpstreamFault {
  return new UpstreamFault('cut_off', 'upstream ended its event stream without an answer');
}

/** Waits; rejects with the reason of `signal`. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    timer.unref();
    function stop(): void {
      clearTimeout(timer);
      reject(signal.reason);
    }
    signal.addEventListener('abort', stop, { once: true });
  });
}
