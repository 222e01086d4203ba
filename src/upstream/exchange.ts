import type { Readable } from 'node:stream';
import { createParser } from 'eventsource-parser';
import type { Dispatcher } from 'undici';
import { type RpcAnswer, readAnswer } from '../mcp/answer.ts';
import { contentHeaders, mediaType, singleValue } from '../mcp/headers.ts';
import { isDeeperThan } from '../mcp/json-scan.ts';
import type { RequestId } from '../mcp/message.ts';
import type { Limits } from '../platform/limits.ts';
import { faultOfContentType, faultOfError, faultOfStatus, isFaultStatus, UpstreamFault } from './fault.ts';
import type { Target } from './target.ts';

/** One POST, answered into memory. */
export interface Exchange {
  status: number;
  sessionId: string | undefined;
  retryAfter: string | undefined;
  /** WWW-Authenticate. */
  challenge: string | undefined;
  /** The JSON-RPC answer, if there was one; error statuses may carry one too. */
  answer: RpcAnswer | undefined;
}

export interface Transport {
  dispatcher: Dispatcher;
  limits: Limits;
}

/**
 * POSTs one JSON-RPC message and reads the answer to `id` from JSON or from an event stream, in bounded time
 * (`signal`) and memory. With `id` undefined (a notification) the body is ignored.
 * Throws UpstreamFault for everything but an HTTP status: callers judge that with `answerOf`.
 */
export async function exchange(
  { dispatcher, limits }: Transport,
  target: Target,
  message: Record<string, unknown>,
  headers: readonly string[],
  signal: AbortSignal,
): Promise<Exchange> {
  const id = message.id as RequestId | undefined;
  let isReached = false;
  try {
    const response = await post(
      dispatcher,
      target,
      JSON.stringify(message),
      headers,
      signal,
      limits.redirects,
    );
    isReached = true;
    const { statusCode: status, body } = response;
    const shared = {
      status,
      sessionId: singleValue(response.headers['mcp-session-id']),
      retryAfter: singleValue(response.headers['retry-after']),
      challenge: singleValue(response.headers['www-authenticate']),
    };
    if (id === undefined) {
      discard(body);
      return { ...shared, answer: undefined };
    }
    const contentType = singleValue(response.headers['content-type']);
    return { ...shared, answer: await readBody(body, contentType, id, status, limits) };
  } catch (error) {
    // An abort error names no cause; the signal knows whether it was the time limit.
    const fault = faultOfError(signal.aborted ? (signal.reason ?? error) : error);
    throw isReached ? fault.notOnTheWay() : fault;
  }
}

/** The JSON-RPC answer of an exchange, errors included. Throws the UpstreamFault that its status stands for. */
export function answerOf(exchanged: Exchange, target: Target): RpcAnswer {
  const { status, answer } = exchanged;
  if (answer && !isFaultStatus(status)) return answer;
  throw faultOfStatus(status, target, exchanged);
}

/**
 * POSTs `body` and follows redirects on the same origin. Throws what undici throws, and UpstreamFault for a redirect
 * that is not followed.
 */
export async function post(
  dispatcher: Dispatcher,
  target: Target,
  body: string,
  headers: readonly string[],
  signal: AbortSignal,
  redirectsLeft: number,
): Promise<Dispatcher.ResponseData> {
  const request = { method: 'POST', headers: [...contentHeaders, ...headers], body, signal } as const;
  return (await follow(dispatcher, target, request, redirectsLeft)).response;
}

/**
 * Sends one request with the target's headers and follows redirects on the same origin; `path` is where that led.
 * Throws what undici throws, and UpstreamFault for a redirect that is not followed.
 */
export async function follow(
  dispatcher: Dispatcher,
  target: Target,
  request: { method: 'GET' | 'POST'; headers: readonly string[]; body?: string; signal: AbortSignal },
  redirectsLeft: number,
  path = target.path,
): Promise<{ response: Dispatcher.ResponseData; path: string }> {
  const headers = [...target.headers.reveal(), ...request.headers];
  const response = await dispatcher.request({ ...request, origin: target.origin, path, headers });
  if (response.statusCode < 300 || response.statusCode > 399) return { response, path };
  discard(response.body);
  const location = singleValue(response.headers.location);
  const next = redirectPath(target, path, response.statusCode, location, redirectsLeft);
  return follow(dispatcher, target, request, redirectsLeft - 1, next);
}

/**
 * The path that a redirect leads to. Only 307 and 308 repeat a POST (RFC 9110 §15.4), and only the same origin
 * may get the credentials; anything else is a fault that says where the server has gone.
 */
export function redirectPath(
  target: Target,
  path: string,
  status: number,
  location: string | undefined,
  redirectsLeft: number,
): string {
  const to = location === undefined ? null : URL.parse(location, `${target.origin}${path}`);
  if (!to) throw new UpstreamFault('wrong_answer', `upstream answered ${status} without a usable Location`);
  if (to.origin !== target.origin || (status !== 307 && status !== 308)) {
    throw new UpstreamFault(
      'wrong_answer',
      `upstream redirects (${status}) to ${to.origin}${to.pathname}; use that URL if you trust it`,
    );
  }
  if (redirectsLeft <= 0) throw new UpstreamFault('wrong_answer', 'upstream redirects too often');
  return to.pathname + to.search;
}

/**
 * The JSON-RPC answer to `id` in a body that is one JSON document; undefined for a refusal that carries none.
 * Throws UpstreamFault.
 */
export async function readJsonAnswer(
  body: Readable,
  contentType: string | undefined,
  id: RequestId,
  status: number,
  limits: Limits,
): Promise<RpcAnswer | undefined> {
  const isSuccess = status >= 200 && status < 300;
  if (mediaType(contentType) !== 'application/json') {
    if (isSuccess) throw faultOfContentType(contentType);
    return undefined;
  }
  const answer = readAnswer(parseJson(await readAll(body, limits.collectedAnswerBytes), limits), id);
  if (!answer && isSuccess) {
    throw new UpstreamFault('wrong_answer', 'not an MCP server: answered JSON that is no JSON-RPC');
  }
  return answer;
}

/**
 * The JSON-RPC answer to `id` in a body, from JSON or from events; undefined for a refusal that carries none.
 * Throws UpstreamFault, and what the body throws.
 */
export async function readBody(
  body: Readable,
  contentType: string | undefined,
  id: RequestId,
  status: number,
  limits: Limits,
): Promise<RpcAnswer | undefined> {
  try {
    return isEventStream(status, contentType)
      ? await readEvents(body, id, limits)
      : await readJsonAnswer(body, contentType, id, status, limits);
  } finally {
    discard(body);
  }
}

/** Whether an answer comes as events. */
export function isEventStream(status: number, contentType: string | undefined): boolean {
  return status >= 200 && status < 300 && mediaType(contentType) === 'text/event-stream';
}

async function readEvents(body: Readable, id: RequestId, limits: Limits): Promise<RpcAnswer> {
  for await (const { message } of readMessages(body, limits)) {
    const answer = readAnswer(message, id);
    if (answer) return answer;
  }
  throw new UpstreamFault('cut_off', 'upstream ended its event stream without an answer');
}

/** One event of a stream: its JSON-RPC message, if it has one, and what a stream is resumed with. */
export interface StreamEvent {
  message: unknown;
  id: string | undefined;
}

/**
 * The messages of an event stream, one by one, each bounded in size and depth. `onRetry` hears how long the server wants
 * its client to wait before it resumes (HTML, server-sent events). Throws UpstreamFault, and what the stream throws.
 */
export async function* readMessages(
  body: Readable,
  limits: Limits,
  onRetry: (ms: number) => void = () => {},
): AsyncGenerator<StreamEvent, void, undefined> {
  let events: StreamEvent[] = [];
  const parser = createParser({
    onEvent: ({ event, data, id }) => {
      // Other events are no messages, whatever their data is (MCP 2025-11-25, basic/transports).
      const isMessage = data !== '' && (event === undefined || event === 'message');
      events.push({ message: isMessage ? parseJson(Buffer.from(data), limits) : undefined, id });
    },
    onRetry,
  });
  const decoder = new TextDecoder();
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    parser.feed(decoder.decode(chunk, { stream: true }));
    if (events.length > 0) {
      const whole = events;
      events = [];
      bytes = 0;
      yield* whole;
    } else if (bytes > limits.collectedAnswerBytes) throw tooLarge(limits.collectedAnswerBytes);
  }
}

async function readAll(body: Readable, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The fault of an answer longer than `maxBytes`, which the message gives in whole MiB. */
export function tooLarge(maxBytes: number): UpstreamFault {
  return new UpstreamFault(
    'wrong_answer',
    `upstream answered more than ${Math.floor(maxBytes / 1024 / 1024)} MiB`,
  );
}

/** Parses what an upstream sent. Throws UpstreamFault. */
export function parseJson(bytes: Buffer, { answerDepth }: Limits): unknown {
  if (isDeeperThan(bytes, answerDepth)) {
    throw new UpstreamFault(
      'wrong_answer',
      `upstream answered JSON nested deeper than ${answerDepth} levels`,
    );
  }
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    throw new UpstreamFault('wrong_answer', 'not an MCP server: answered JSON that does not parse');
  }
}

/** Lets go of a body that nobody reads, and of its socket with it. */
export function discard(body: Readable): void {
  body.on('error', () => {});
  body.destroy();
}
