import { setTimeout as pause } from 'node:timers/promises';
import { untagged } from '../../mcp/era-messages.ts';
import { ApiError } from '../../platform/errors.ts';
import { CredentialsRefused, faultOfError } from '../../upstream/fault.ts';
import type { UpstreamMessage } from '../../upstream/legacy-session.ts';
import { requestModern } from '../../upstream/modern-request.ts';
import { refuseWaiting } from '../answer-mcp.ts';
import type { GatewayDeps } from '../deps.ts';
import { type ReachedConnection, recover } from '../reach.ts';
import type { Downstream } from '../relay-call.ts';
import { AnswerStream } from './answer-stream.ts';
import { type ClientSession, inEnvelope, modernRevisionOf } from './legacy-post.ts';

/** The first pause before a listener that ended is begun again; each next one is twice as long, up to `resumeMaxMs`. */
const firstPauseMs = 1000;

const method = 'subscriptions/listen';

/**
 * Answers a legacy caller's GET in front of a modern upstream: one `subscriptions/listen` there, for the lists and what the
 * session is subscribed to, begun again when that changes or the server ends it (mcp.md §5.1). Resolves when the stream
 * has ended. Throws ApiError before it begins.
 */
export async function serveSessionStream(
  deps: GatewayDeps,
  session: ClientSession,
  reached: ReachedConnection,
  downstream: Downstream,
): Promise<void> {
  if (!deps.streams.add(reached.target.origin, downstream.response)) {
    throw new ApiError('rate_limited', {
      message: 'Too many streams of this server are open. Close one first.',
    });
  }
  const stream = new AnswerStream(deps, downstream, 'text/event-stream');
  stream.open();
  let listener = new AbortController();
  const end = new AbortController();
  const detach = deps.live.attach(session.idHash, {
    follow: () => listener.abort(),
    end: () => end.abort(),
  });
  const over = AbortSignal.any([stream.left, end.signal]);
  let current = reached;
  let pauseMs = firstPauseMs;
  const pass = async ({ method: said, params }: UpstreamMessage) => {
    if (said === 'notifications/subscriptions/acknowledged') {
      pauseMs = firstPauseMs;
      deps.observer.succeeded(current.connection);
    } else await stream.send(untagged(said, params));
  };
  while (!over.aborted) {
    listener = new AbortController();
    const signal = AbortSignal.any([over, listener.signal]);
    try {
      const answer = await listen(deps, session, current, pass, signal);
      // A server that cannot tell of changes is not asked again; the stream stays, for the caller opened it.
      if (answer.kind === 'error') await untilAborted(signal);
    } catch (error) {
      if (signal.aborted) continue;
      const fault = faultOfError(error);
      if (fault instanceof CredentialsRefused) {
        const again = await recover(deps, current, fault, refuseWaiting(deps), 0).catch(() => undefined);
        if (!again) break;
        current = again;
      } else deps.observer.failed(current.connection, fault);
    }
    await pause(pauseMs, undefined, { signal, ref: false }).catch(() => {});
    pauseMs = Math.min(2 * pauseMs, deps.limits.resumeMaxMs);
  }
  detach();
  stream.close();
}

function listen(
  deps: GatewayDeps,
  { idHash, client }: ClientSession,
  reached: ReachedConnection,
  onMessage: (message: UpstreamMessage) => Promise<void>,
  signal: AbortSignal,
) {
  const wishes = deps.wishes.get(idHash);
  const notifications = {
    toolsListChanged: true,
    promptsListChanged: true,
    resourcesListChanged: true,
    ...(wishes.resources.length > 0 ? { resourceSubscriptions: wishes.resources } : {}),
  };
  return requestModern(deps.transport, reached.target, {
    revision: modernRevisionOf(reached),
    method,
    params: inEnvelope({ client, wishes }, reached, { notifications }),
    paramHeaders: [],
    onMessage,
    signal,
  });
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
