import type { IncomingHttpHeaders } from 'node:http';
import type { RpcAnswer } from '../../mcp/answer.ts';
import { toMessage } from '../../mcp/era-messages.ts';
import type { IncomingMessage } from '../../mcp/message.ts';
import { ApiError } from '../../platform/errors.ts';
import { CredentialsRefused, faultOfError } from '../../upstream/fault.ts';
import { refuseWaiting } from '../answer-mcp.ts';
import { AnswerStream } from '../bridge/answer-stream.ts';
import { CallTimer } from '../bridge/call-timer.ts';
import { endWithError } from '../bridge/end-with-error.ts';
import { rejectionOf } from '../caller-fault.ts';
import type { GatewayDeps } from '../deps.ts';
import { type ReachedConnection, recover } from '../reach.ts';
import type { Downstream } from '../relay-call.ts';
import { viaHeader } from '../via.ts';
import { withVia } from '../via-target.ts';

/** A message of a legacy caller, for a connection whose upstream speaks HTTP+SSE. */
export interface SsePost {
  message: IncomingMessage;
  headers: IncomingHttpHeaders;
}

interface Passage extends SsePost {
  downstream: Downstream;
  stream: AnswerStream;
}

/** Notifications that name a request of the session: it is shared, and the caller's ids are not known there. */
const ofOneRequest = new Set(['notifications/cancelled', 'notifications/progress']);

/**
 * Answers a legacy caller without a session in front of an upstream that speaks HTTP+SSE: the call travels in the shared
 * session of the connection. Every outcome is a JSON-RPC answer; never rejects.
 */
export async function serveSse(
  deps: GatewayDeps,
  post: SsePost,
  reached: ReachedConnection,
  downstream: Downstream,
): Promise<void> {
  const stream = new AnswerStream(deps, downstream, post.headers.accept);
  const passage = { ...post, downstream, stream };
  try {
    await serve(deps, passage, withVia(reached, viaHeader(post.headers.via)), 0);
  } catch (error) {
    endWithError(deps, stream, downstream, post.message.id, error);
  }
}

async function serve(
  deps: GatewayDeps,
  passage: Passage,
  reached: ReachedConnection,
  recoveries: number,
): Promise<void> {
  const { connection } = reached;
  const { message, stream, downstream } = passage;
  try {
    if (message.id === undefined) {
      await notify(deps, passage, reached);
      downstream.response.writeHead(202, { ...downstream.headers, 'content-length': 0 }).end();
    } else {
      stream.end(200, toMessage(message.id, await ask(deps, passage, reached)));
    }
    deps.observer.succeeded(connection);
  } catch (error) {
    if (error instanceof ApiError) throw error;
    const fault = faultOfError(error);
    if (stream.left.aborted) return;
    if (fault instanceof CredentialsRefused) {
      const again = await recover(deps, reached, fault, refuseWaiting(deps), recoveries);
      return serve(deps, passage, withVia(again, viaHeader(passage.headers.via)), recoveries + 1);
    }
    const rejection = rejectionOf(fault.status);
    if (rejection) {
      // The stream may be what was refused, and that would be no fault of the caller.
      deps.observer.doubted(connection);
      throw rejection;
    }
    deps.observer.failed(connection, fault);
    throw fault.toApiError();
  }
}

async function ask(
  { relay, sessions }: GatewayDeps,
  { message, stream }: Passage,
  { target }: ReachedConnection,
): Promise<RpcAnswer> {
  const timer = new CallTimer(relay, target.timeLimits);
  const leave = () => timer.abort(new Error('the caller went away'));
  stream.left.addEventListener('abort', leave, { once: true });
  if (stream.left.aborted) leave();
  try {
    if (message.method === 'initialize') {
      // The session has been initialized already, and its server has no other answer for this client.
      return await sessions.sse.use(target, timer.signal, async ({ result }) => ({ kind: 'result', result }));
    }
    return await sessions.sse.request(target, {
      method: message.method as string,
      params: message.params,
      onMessage({ method, params }) {
        timer.heard();
        return stream.send({ jsonrpc: '2.0', method, ...(params && { params }) });
      },
      signal: timer.signal,
    });
  } finally {
    timer.end();
    stream.left.removeEventListener('abort', leave);
  }
}

async function notify(
  { sessions, limits }: GatewayDeps,
  { message, stream }: Passage,
  { target }: ReachedConnection,
): Promise<void> {
  const { method, params } = message;
  if (method === undefined || method === 'notifications/initialized' || ofOneRequest.has(method)) return;
  const signal = AbortSignal.any([stream.left, AbortSignal.timeout(limits.probeMs)]);
  await sessions.sse.use(target, signal, (session) => session.notify(method, params));
}
