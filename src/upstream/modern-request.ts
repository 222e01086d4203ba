import { type RpcAnswer, readAnswer } from '../mcp/answer.ts';
import { modernHeaders, singleValue } from '../mcp/headers.ts';
import { discard, isEventStream, post, readJsonAnswer, readMessages, type Transport } from './exchange.ts';
import { faultOfError, faultOfStatus, isFaultStatus, UpstreamFault } from './fault.ts';
import type { SessionRequest, UpstreamMessage } from './legacy-session.ts';
import type { Target } from './target.ts';

/** A request to a modern server. Its params carry the envelope. */
export interface ModernRequest extends SessionRequest {
  params: Record<string, unknown>;
  revision: string;
  /** Mirrored arguments, a flat list. */
  paramHeaders: readonly string[];
}

/** Every request is alone on its stream, so all may have the same id. */
const id = 1;

/**
 * Sends a request to a modern server and resolves with its answer, JSON-RPC errors included (MCP 2026-07-28,
 * streamable-http). Aborting `signal` closes the stream, which cancels the request there. Throws UpstreamFault.
 */
export async function requestModern(
  { dispatcher, limits }: Transport,
  target: Target,
  { revision, method, params, paramHeaders, onMessage, signal }: ModernRequest,
): Promise<RpcAnswer> {
  try {
    const message = JSON.stringify({ jsonrpc: '2.0', id, method, params });
    const headers = [...modernHeaders(revision, method, params), ...paramHeaders];
    const response = await post(dispatcher, target, message, headers, signal, limits.redirects);
    const { statusCode: status, body } = response;
    const contentType = singleValue(response.headers['content-type']);
    try {
      if (isEventStream(status, contentType)) {
        for await (const event of readMessages(body, limits)) {
          const answer = readAnswer(event.message, id);
          if (answer) return answer;
          if (isNotification(event.message)) await onMessage(event.message);
        }
        throw new UpstreamFault('cut_off', 'upstream ended its event stream without an answer');
      }
      const answer = await readJsonAnswer(body, contentType, id, status, limits);
      if (answer && !isFaultStatus(status)) return answer;
      throw faultOfStatus(status, target, {
        retryAfter: singleValue(response.headers['retry-after']),
        challenge: singleValue(response.headers['www-authenticate']),
      });
    } finally {
      discard(body);
    }
  } catch (error) {
    throw faultOfError(signal.aborted ? (signal.reason ?? error) : error);
  }
}

/** A modern server sends nothing else on a stream: it asks by its result (MCP 2026-07-28, basic/patterns/mrtr). */
function isNotification(value: unknown): value is UpstreamMessage {
  const { method, id: requestId } = (value ?? {}) as Partial<UpstreamMessage>;
  return typeof method === 'string' && requestId === undefined;
}
