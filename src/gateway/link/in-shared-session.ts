import type { RpcAnswer } from '../../mcp/answer.ts';
import type { GatewayDeps } from '../deps.ts';
import type { ReachedConnection } from '../reach.ts';
import { accepted, callTimer } from './answers.ts';
import type { LinkPassage } from './link-post.ts';

/** Notifications that name a request of the session: it is shared, and the caller's ids are not known there. */
const ofOneRequest = new Set(['notifications/cancelled', 'notifications/progress']);

/**
 * Sends the message of a caller without a session in the one that such callers share, and answers it. Resolves to whether
 * the upstream was heard. Throws UpstreamFault.
 */
export async function sendShared(
  deps: GatewayDeps,
  passage: LinkPassage,
  reached: ReachedConnection,
): Promise<boolean> {
  const { message, stream } = passage;
  if (message.id === undefined) {
    const isHeard = await notify(deps, passage, reached);
    accepted(passage);
    return isHeard;
  }
  stream.answer(200, message.id, await ask(deps, passage, reached));
  // A session opened earlier says nothing about the upstream now.
  return message.method !== 'initialize';
}

async function ask(
  deps: GatewayDeps,
  { message, stream, link }: LinkPassage,
  { target }: ReachedConnection,
): Promise<RpcAnswer> {
  const timer = callTimer(deps, stream, target);
  try {
    if (message.method === 'initialize') {
      // The session has been initialized already, and its server has no other answer for this client.
      return await link.use(target, timer.signal, async ({ result }) => ({ kind: 'result', result }));
    }
    return await link.request(target, {
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
  }
}

async function notify(
  { limits }: GatewayDeps,
  { message, stream, link }: LinkPassage,
  { target }: ReachedConnection,
): Promise<boolean> {
  const { method, params } = message;
  if (method === undefined || method === 'notifications/initialized' || ofOneRequest.has(method))
    return false;
  const signal = AbortSignal.any([stream.left, AbortSignal.timeout(limits.probeMs)]);
  await link.use(target, signal, (session) => session.notify(method, params));
  return true;
}
