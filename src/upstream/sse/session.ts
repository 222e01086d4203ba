import type { Dispatcher } from 'undici';
import type { RpcAnswer } from '../../mcp/answer.ts';
import { isFields } from '../../mcp/era-messages.ts';
import { mediaType, singleValue, versionHeader } from '../../mcp/headers.ts';
import type { RequestId } from '../../mcp/message.ts';
import { withinLimit } from '../../platform/within-limit.ts';
import { tellCancelled } from '../cancel.ts';
import { parseJson, post, readBody, type Transport } from '../exchange.ts';
import { faultOfError, faultOfStatus, isFaultStatus, UpstreamFault } from '../fault.ts';
import { type Agreement, initializeParams, readAgreement } from '../initialize.ts';
import {
  type LegacyClient,
  type LegacySession,
  SessionLost,
  type SessionRequest,
  type UpstreamMessage,
} from '../legacy-session.ts';
import { PendingRequests } from '../pending.ts';
import type { Target } from '../target.ts';
import type { EventStream } from './open-stream.ts';

const methodNotFound = -32601;

/**
 * A session over HTTP+SSE (MCP 2024-11-05, basic/transports): what is sent is POSTed to the endpoint that the stream
 * named, and all that comes, answers too, comes on the stream. The session lasts as long as the stream.
 */
export class SseSession implements LegacySession {
  readonly #transport: Transport;
  #target: Target;
  readonly #stream: EventStream;
  readonly #pending: PendingRequests;
  readonly #ended = new AbortController();
  /** Answers to requests of the server that are on their way. */
  readonly #replies = new Set<Promise<void>>();
  #agreement: Agreement | undefined;
  #listener: SessionRequest['onMessage'] | undefined;
  /** Grows with every event. */
  #heard = 0;
  #isChecking = false;
  #isSilent = false;

  /** Reads `stream` from now on; `initialize` must follow. */
  constructor(transport: Transport, target: Target, stream: EventStream) {
    this.#transport = transport;
    this.#target = { ...target, path: stream.endpoint };
    this.#stream = stream;
    this.#pending = new PendingRequests(transport.limits.sseRequests);
    void this.#read();
  }

  get revision(): string {
    return this.#agreement?.revision ?? '';
  }

  get result(): Record<string, unknown> {
    return this.#agreement?.result ?? {};
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** Whether the stream brings nothing any more, though it is open: then new requests had better take another session. */
  get isSilent(): boolean {
    return this.#isSilent;
  }

  /** Introduces `client` to the server (MCP 2025-11-25, basic/lifecycle). Throws UpstreamFault. */
  async initialize(client: LegacyClient, signal: AbortSignal): Promise<void> {
    const request = { method: 'initialize', params: initializeParams(client), onMessage: () => {}, signal };
    this.#agreement = readAgreement(await this.#ask(request, this.#target));
  }

  /** Says that the client is ready, which begins the session proper. Throws UpstreamFault. */
  async sayReady(signal: AbortSignal): Promise<void> {
    await this.#post({ method: 'notifications/initialized' }, undefined, this.#target, signal);
  }

  async request(request: SessionRequest): Promise<RpcAnswer> {
    const target = this.#target;
    const heard = this.#heard;
    const cancel = (id: number) => {
      if (this.ended.aborted) return;
      tellCancelled(this.#transport, target, this.#headers(), id);
      if (this.#heard === heard) void this.#check();
    };
    return this.#ask(request, target, cancel);
  }

  async notify(method: string, params: Record<string, unknown> | undefined): Promise<void> {
    await this.#send({ method, params });
  }

  async respond(id: RequestId, answer: { result: unknown } | { error: unknown }): Promise<void> {
    await this.#send({ id, ...answer });
  }

  async listen(onMessage: SessionRequest['onMessage']): Promise<boolean> {
    this.#requireAlive();
    this.#listener = onMessage;
    return true;
  }

  retarget(target: Target): void {
    this.#target = { ...target, path: this.#stream.endpoint };
  }

  async close(): Promise<void> {
    this.#end(new UpstreamFault('cut_off', 'the session was ended'));
  }

  /** Sends a request and waits for its answer; `cancelled` hears of one that is given up. */
  async #ask(
    request: SessionRequest,
    target: Target,
    cancelled: (id: number) => void = () => {},
  ): Promise<RpcAnswer> {
    const { method, signal } = request;
    this.#requireAlive();
    if (signal.aborted) throw faultOfError(signal.reason);
    const { id, params, answer } = this.#pending.add(request);
    const posting = new AbortController();
    const abandoned = Promise.withResolvers<never>();
    const abandon = () => {
      abandoned.reject(faultOfError(signal.reason));
      posting.abort(signal.reason);
      cancelled(id);
    };
    signal.addEventListener('abort', abandon);
    let isPosted = false;
    const posted = this.#post({ id, method, params }, id, target, posting.signal).finally(() => {
      isPosted = true;
    });
    // A server may answer the POST itself; the usual one accepts it, and answers on the stream.
    const answered = posted.then((found) => found ?? answer);
    try {
      return await Promise.race([answer, answered, abandoned.promise]);
    } finally {
      signal.removeEventListener('abort', abandon);
      this.#pending.remove(id);
      // Having answered, the server is about to accept; it need not take for ever.
      if (!isPosted) setTimeout(() => posting.abort(), this.#transport.limits.endSessionMs).unref();
      if (this.#isSilent && this.#pending.size === 0) this.#end(silence());
    }
  }

  async #send(message: Record<string, unknown>): Promise<void> {
    this.#requireAlive();
    const { discoverMs } = this.#transport.limits;
    await withinLimit(discoverMs, [], (signal) => this.#post(message, undefined, this.#target, signal));
  }

  /**
   * POSTs one message. Resolves when the server has accepted it, with the answer to `awaited` where that came at once.
   * Throws SessionLost and UpstreamFault.
   */
  async #post(
    message: Record<string, unknown>,
    awaited: number | undefined,
    target: Target,
    signal: AbortSignal,
  ): Promise<RpcAnswer | undefined> {
    const { dispatcher, limits } = this.#transport;
    try {
      const body = JSON.stringify({ jsonrpc: '2.0', ...message });
      const response = await post(dispatcher, target, body, this.#headers(), signal, limits.redirects);
      const { statusCode: status, headers } = response;
      const contentType = singleValue(headers['content-type']);
      const mayAnswer = ['application/json', 'text/event-stream'].includes(mediaType(contentType) ?? '');
      let answer: RpcAnswer | undefined;
      if (awaited === undefined || !mayAnswer) {
        this.#drain(response);
      } else {
        // Whatever else an accepted POST says, the answer comes on the stream.
        answer = await readBody(response.body, contentType, awaited, status, limits).catch(() => undefined);
      }
      if (status >= 200 && status < 300) return answer;
      if (!isFaultStatus(status)) {
        if (await this.#isLost(status, awaited)) throw new SessionLost();
        if (answer) return answer;
      }
      throw faultOfStatus(status, target, {
        retryAfter: singleValue(headers['retry-after']),
        challenge: singleValue(headers['www-authenticate']),
      });
    } catch (error) {
      throw faultOfError(signal.aborted ? (signal.reason ?? error) : error);
    }
  }

  /**
   * Whether the POST of `awaited` was refused because the server knows no such session: then it refuses a ping too, and
   * the session ends. Of its other requests nobody knows whether they ran.
   */
  async #isLost(status: number, awaited: number | undefined): Promise<boolean> {
    const { dispatcher, limits } = this.#transport;
    if (status !== 404 && status !== 400) return false;
    const body = JSON.stringify({ jsonrpc: '2.0', id: this.#pending.nextId(), method: 'ping' });
    const signal = AbortSignal.timeout(limits.discoverMs);
    try {
      const ping = await post(dispatcher, this.#target, body, this.#headers(), signal, limits.redirects);
      this.#drain(ping);
      if (ping.statusCode !== 404 && ping.statusCode !== 400) return false;
    } catch {
      return false;
    }
    if (awaited !== undefined) this.#pending.remove(awaited);
    this.#end(new UpstreamFault('cut_off', 'upstream lost the session'));
    return true;
  }

  /** Reads what nobody needs, so that the socket can be used again. */
  #drain({ body }: Dispatcher.ResponseData): void {
    const { sseDrainedBytes: limit, endSessionMs } = this.#transport.limits;
    body.dump({ limit, signal: AbortSignal.timeout(endSessionMs) }).catch(() => {});
  }

  async #read(): Promise<void> {
    const { limits } = this.#transport;
    try {
      for await (const { event, data } of this.#stream.events) {
        this.#heard++;
        this.#isSilent = false;
        // Other events are no messages, whatever their data is.
        if (data === '' || (event !== undefined && event !== 'message')) continue;
        const value = parseJson(Buffer.from(data), limits);
        // Servers may send batches until MCP 2025-03-26.
        for (const message of Array.isArray(value) ? value : [value]) await this.#receive(message);
        // A server that asks faster than it takes the answers is not read meanwhile.
        while (this.#replies.size >= limits.sseReplies) await Promise.race(this.#replies);
      }
      this.#end(new UpstreamFault('cut_off', 'upstream ended its event stream').notOnTheWay());
    } catch (error) {
      // One end of a stream is no row of failures, however many calls it ends.
      this.#end(faultOfError(error).notOnTheWay());
    }
  }

  async #receive(message: unknown): Promise<void> {
    if (!isFields(message) || message.jsonrpc !== '2.0') return;
    const { method, id, params } = message;
    if (typeof method !== 'string') return this.#pending.settle(message);
    const passed = { method, ...(isFields(params) && { params }) };
    if (typeof id === 'string' || typeof id === 'number') {
      if (method === 'ping') this.#reply(id, { result: {} });
      else if (this.#listener) await this.#tell({ ...passed, id });
      else this.#reply(id, { error: { code: methodNotFound, message: 'Method not found' } });
    } else if (method === 'notifications/progress') {
      this.#pending.progress(passed);
    } else {
      await this.#tell(passed);
    }
  }

  /** Waits for a slow listener: what it is told is for it alone, and must not pile up. */
  async #tell(message: UpstreamMessage): Promise<void> {
    try {
      await this.#listener?.(message);
    } catch {
      // The next request in the session meets what went wrong.
    }
  }

  #reply(id: RequestId, answer: { result: unknown } | { error: unknown }): void {
    const reply = this.respond(id, answer)
      // That the server does not take what it asked for is its own affair.
      .catch(() => {})
      .finally(() => this.#replies.delete(reply));
    this.#replies.add(reply);
  }

  /**
   * Whether the stream still brings anything is seen by a ping. Only a session without calls ends for it: a server may
   * do one thing after the other, and answer when it is done.
   */
  async #check(): Promise<void> {
    if (this.#isChecking || this.ended.aborted) return;
    this.#isChecking = true;
    const heard = this.#heard;
    const signal = AbortSignal.timeout(this.#transport.limits.discoverMs);
    try {
      await this.#ask({ method: 'ping', params: undefined, onMessage: () => {}, signal }, this.#target);
    } catch (error) {
      const { kind } = error as UpstreamFault;
      if (kind !== 'timeout' && kind !== 'unreachable') return;
      this.#isSilent = this.#heard === heard;
      if (this.#isSilent && this.#pending.size === 0) this.#end(silence());
    } finally {
      this.#isChecking = false;
    }
  }

  #headers(): string[] {
    return this.#agreement ? [versionHeader, this.#agreement.revision] : [];
  }

  #requireAlive(): void {
    if (this.ended.aborted) throw new SessionLost(this.ended.reason);
  }

  #end(fault: UpstreamFault): void {
    if (this.ended.aborted) return;
    this.#ended.abort(fault);
    this.#stream.close();
    this.#pending.failAll(fault);
    this.#listener = undefined;
  }
}

function silence(): UpstreamFault {
  return new UpstreamFault('cut_off', 'upstream says nothing any more on its event stream');
}
