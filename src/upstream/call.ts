import type { RpcAnswer } from '../mcp/answer.ts';
import { modernHeaders } from '../mcp/headers.ts';
import { modernMeta } from '../mcp/message.ts';
import { tellCancelled } from './cancel.ts';
import { answerOf, type Exchange, exchange, type Transport } from './exchange.ts';
import { maySayLostSession } from './lost-session.ts';
import type { Protocol } from './negotiate.ts';
import type { PooledSession, SessionPool } from './sessions.ts';
import type { Target } from './target.ts';

/**
 * One request of our own to an upstream of either era and any transport, answered into memory: how `.tools` asks. Prefers
 * the modern era, which needs no session. `paramHeaders` are the mirrored arguments of a modern tool call. Throws UpstreamFault; JSON-RPC errors are returned.
 */
export async function callUpstream(
  transport: Transport,
  sessions: SessionPool,
  target: Target,
  protocol: Protocol,
  method: string,
  params: Record<string, unknown>,
  signal: AbortSignal,
  paramHeaders: readonly string[] = [],
): Promise<RpcAnswer> {
  if (protocol.modern) {
    return callModern(transport, target, protocol.modern, method, params, signal, paramHeaders);
  }
  if (protocol.legacy) {
    return callLegacy(transport, sessions, target, protocol.legacy, method, params, signal);
  }
  const link = sessions.link(protocol);
  // A probe stores what it has found, and finds one of them at least.
  if (!link) throw new Error('a connection without a protocol was called');
  return link.request(target, { method, params, onMessage: () => {}, signal });
}

async function callModern(
  transport: Transport,
  target: Target,
  revision: string,
  method: string,
  params: Record<string, unknown>,
  signal: AbortSignal,
  paramHeaders: readonly string[],
): Promise<RpcAnswer> {
  const message = {
    jsonrpc: '2.0',
    id: 1,
    method,
    params: { ...params, _meta: modernMeta(revision) },
  };
  const headers = [...modernHeaders(revision, method, params), ...paramHeaders];
  return answerOf(await exchange(transport, target, message, headers, signal), target);
}

async function callLegacy(
  transport: Transport,
  sessions: SessionPool,
  target: Target,
  revision: string,
  method: string,
  params: Record<string, unknown>,
  signal: AbortSignal,
): Promise<RpcAnswer> {
  const message = { jsonrpc: '2.0', id: sessions.uniqueId(), method, params };
  const session = await sessions.acquire(target, revision);
  const answered = await exchangeInSession(transport, sessions, target, session, message, signal);
  if (!maySayLostSession(answered.status, rpcCode(answered)) || !(await sessions.isLost(session))) {
    return answerOf(answered, target);
  }
  sessions.drop(session);
  const fresh = await sessions.acquire(target, revision);
  return answerOf(await exchangeInSession(transport, sessions, target, fresh, message, signal), target);
}

async function exchangeInSession(
  transport: Transport,
  sessions: SessionPool,
  target: Target,
  session: PooledSession,
  message: Record<string, unknown> & { id: string },
  signal: AbortSignal,
): Promise<Exchange> {
  const { headers } = session;
  const end = sessions.begin(session);
  try {
    return await exchange(transport, target, message, headers, signal);
  } catch (fault) {
    if (signal.aborted) tellCancelled(transport, target, headers, message.id);
    throw fault;
  } finally {
    end();
  }
}

function rpcCode({ answer }: Exchange): number | undefined {
  return answer?.kind === 'error' ? answer.code : undefined;
}
