import type { RequestId } from '../mcp/message.ts';
import { exchange, type Transport } from './exchange.ts';
import type { Target } from './target.ts';

/**
 * Tells a legacy upstream that nobody waits for request `id` any more: closing the stream does not say so
 * (MCP 2025-11-25, basic/transports). It is told, not waited for: it may be the reason why nobody waits.
 */
export function tellCancelled(
  transport: Transport,
  target: Target,
  headers: readonly string[],
  id: RequestId,
): void {
  const params = { requestId: id, reason: 'The caller went away.' };
  const message = { jsonrpc: '2.0', method: 'notifications/cancelled', params };
  exchange(transport, target, message, headers, AbortSignal.timeout(transport.limits.endSessionMs)).catch(
    () => {},
  );
}
