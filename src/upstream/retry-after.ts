/** A Retry-After header as it came; undefined where there was none. */
export type RetryAfter = string | undefined;

/** The time that a Retry-After header names, in milliseconds from `now`: seconds or an HTTP date (RFC 9110 §10.2.3). */
export function retryAfterMs(header: RetryAfter, now: number): number | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  // An HTTP date ends in GMT; Date.parse would take much else.
  const at = text.endsWith('GMT') ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
