import { type Exchange, exchange, type Transport } from './exchange.ts';
import type { Target } from './target.ts';

/**
 * Whether an answer may mean "no such session": 404 by the specification, 400 and the JSON-RPC errors
 * −32600 and −32001 in the wild (pains 19). Decided on codes, never on wording.
 */
export function maySayLostSession(status: number, rpcCode: number | undefined): boolean {
  return status === 404 || status === 400 || rpcCode === -32600 || rpcCode === -32001;
}

/** Asks the upstream, with `ping`, whether the session of `headers` is lost. Only a clear answer counts. */
export async function isSessionLost(
  transport: Transport,
  target: Target,
  headers: readonly string[],
): Promise<boolean> {
  let answered: Exchange;
  try {
    const ping = { jsonrpc: '2.0', id: 'ping', method: 'ping' };
    const signal = AbortSignal.timeout(transport.limits.discoverMs);
    answered = await exchange(transport, target, ping, headers, signal);
  } catch {
    return false;
  }
  const code = answered.answer?.kind === 'error' ? answered.answer.code : undefined;
  return maySayLostSession(answered.status, code);
}
