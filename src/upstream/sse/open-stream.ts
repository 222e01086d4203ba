import type { Dispatcher } from 'undici';
import { mediaType, singleValue } from '../../mcp/headers.ts';
import { withinLimit } from '../../platform/within-limit.ts';
import { discard, follow, type Transport } from '../exchange.ts';
import { faultOfContentType, faultOfError, faultOfStatus, UpstreamFault } from '../fault.ts';
import type { Target } from '../target.ts';
import { readEvents, type StreamEvent } from './read-events.ts';

/** The open stream of a server that speaks HTTP+SSE. */
export interface EventStream {
  /** Where its client POSTs: path and query, at the target's origin. */
  endpoint: string;
  /** What comes after the endpoint. Throws what breaks the stream. */
  events: AsyncIterable<StreamEvent>;
  /** Closes it, which ends the session: this transport knows no other end. */
  close(): void;
}

/**
 * Opens the stream with a GET and reads its first event, which names where to POST (MCP 2024-11-05, basic/transports).
 * Throws UpstreamFault; ends with `deadline`, or after `limits.sseEndpointMs`.
 */
export async function openEventStream(
  { dispatcher, limits }: Transport,
  target: Target,
  deadline: AbortSignal,
): Promise<EventStream> {
  return withinLimit(limits.sseEndpointMs, [deadline], async (limit) => {
    // The stream outlives the limit, which ends no more than its opening.
    const closing = new AbortController();
    const giveUp = () => closing.abort(limit.reason);
    if (limit.aborted) giveUp();
    limit.addEventListener('abort', giveUp);
    try {
      const request = {
        method: 'GET',
        headers: ['accept', 'text/event-stream'],
        signal: closing.signal,
      } as const;
      const { response, path } = await follow(dispatcher, target, request, limits.redirects);
      requireEventStream(response, target);
      const events = readEvents(response.body, limits.collectedAnswerBytes);
      const first = await events.next();
      if (first.done) {
        throw new UpstreamFault('cut_off', 'upstream ended its event stream before it named an endpoint');
      }
      const endpoint = endpointOf(first.value, target, path, limits.sseEndpointChars);
      return { endpoint, events, close: () => closing.abort(new Error('the session ends')) };
    } catch (error) {
      const fault = faultOfError(limit.aborted ? (limit.reason ?? error) : error);
      closing.abort(fault);
      throw fault;
    } finally {
      limit.removeEventListener('abort', giveUp);
    }
  });
}

/** The server speaks HTTP+SSE, but names an endpoint that nothing may be sent to. */
export class BadEndpoint extends UpstreamFault {
  constructor(message: string) {
    super('wrong_answer', message);
  }
}

function requireEventStream({ statusCode, headers, body }: Dispatcher.ResponseData, target: Target): void {
  const contentType = singleValue(headers['content-type']);
  if (statusCode === 200 && mediaType(contentType) === 'text/event-stream') return;
  discard(body);
  if (statusCode >= 200 && statusCode < 300) throw faultOfContentType(contentType);
  throw faultOfStatus(statusCode, target, {
    retryAfter: singleValue(headers['retry-after']),
    challenge: singleValue(headers['www-authenticate']),
  });
}

/** Credentials go along with every POST, so an endpoint at another origin is refused. */
function endpointOf(
  { event, data }: StreamEvent,
  { origin }: Target,
  path: string,
  maxChars: number,
): string {
  if (event !== 'endpoint') {
    throw new UpstreamFault('wrong_answer', 'upstream began its event stream without naming an endpoint');
  }
  const url = URL.parse(data.trim(), `${origin}${path}`);
  const endpoint = url ? url.pathname + url.search : '';
  if (!url || endpoint.length > maxChars) {
    throw new BadEndpoint('upstream named an endpoint that is no usable URL');
  }
  if (url.origin !== origin) {
    throw new BadEndpoint('upstream named an endpoint at another origin than its own');
  }
  return endpoint;
}
