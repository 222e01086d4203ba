/**
 * Does `work` with a signal that is aborted when one of `signals` is, for its reason, or after `limitMs`, for a TimeoutError.
 * Lets go of all of it once the work has ended: `AbortSignal.any` and `AbortSignal.timeout` hold a timer and what refers to it
 * until the time is up, however short the work was, and sessions opened by the thousand left 100 MB behind.
 */
export async function withinLimit<T>(
  limitMs: number,
  signals: readonly AbortSignal[],
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(new DOMException('the time is up', 'TimeoutError')), limitMs);
  timer.unref();
  const following = signals.map((signal) => {
    const abort = () => limit.abort(signal.reason);
    signal.addEventListener('abort', abort);
    if (signal.aborted) abort();
    return () => signal.removeEventListener('abort', abort);
  });
  try {
    return await work(limit.signal);
  } finally {
    clearTimeout(timer);
    for (const stop of following) stop();
  }
}
