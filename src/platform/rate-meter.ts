/** What is left of a quota. */
export interface Quota {
  /** Requests a minute. */
  limit: number;
  /** Requests that may follow at once. */
  remaining: number;
  /** Milliseconds until the whole quota is there again. */
  resetMs: number;
}

const minuteMs = 60_000;
/** Sums of fractions are a little off: the last request of a quota is still one of it. */
const tolerance = 1e-6;

/**
 * A quota of requests a minute, kept as one number: when all of it will be there again. That is the generic cell rate
 * algorithm (ITU-T I.371): a quota may be spent at once, comes back evenly, and is never spent twice where two minutes meet.
 * Times are milliseconds of a clock that never goes back.
 */
export class RateMeter {
  #fullAt = 0;

  /** Milliseconds until one more request may come; 0 where it may now. */
  waitMs(limit: number, now: number): number {
    const wait = this.#behind(now) + minuteMs / limit - minuteMs;
    return wait * limit > tolerance * minuteMs ? wait : 0;
  }

  /** Takes a request from the quota; `waitMs` was 0. */
  spend(limit: number, now: number): void {
    this.#fullAt = now + this.#behind(now) + minuteMs / limit;
  }

  quota(limit: number, now: number): Quota {
    const resetMs = this.#behind(now);
    const remaining = Math.max(0, Math.floor(((minuteMs - resetMs) * limit) / minuteMs + tolerance));
    return { limit, remaining, resetMs };
  }

  #behind(now: number): number {
    return Math.max(this.#fullAt - now, 0);
  }
}
