/**
 * Exponential backoff with full jitter above the minimum, so that many who failed together do not come again in step.
 * `attempt` counts from 0; milliseconds.
 */
export function backoffMs(attempt: number, minMs: number, maxMs: number): number {
  const ceiling = Math.min(maxMs, minMs * 2 ** Math.min(attempt, 30));
  return Math.round(minMs + Math.random() * (ceiling - minMs));
}
