const unitMs = { s: 1_000, m: 60_000, h: 3_600_000 };

/**
 * Milliseconds of a `ttl`: whole seconds as a number, or a whole number with `s`, `m` or `h` (api.md §6).
 * undefined for what is none of these, and for less than a second.
 */
export function durationMs(ttl: number | string): number | undefined {
  const ms = typeof ttl === 'number' ? ttl * 1_000 : textMs(ttl);
  return Number.isSafeInteger(ms) && ms >= 1_000 && ms % 1_000 === 0 ? ms : undefined;
}

function textMs(text: string): number {
  const [, count, unit] = /^(\d{1,9})(s|m|h)$/.exec(text) ?? [];
  return count === undefined ? Number.NaN : Number(count) * unitMs[unit as keyof typeof unitMs];
}
