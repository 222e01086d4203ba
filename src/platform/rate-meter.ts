import { LRUCache } from 'lru-cache';

/** What a subject has left of its quota. */
export interface Quota {
  /** Requests a minute. */
  limit: number;
  /** Requests that may follow at once. */
  remaining: number;
  /** Milliseconds until the whole quota is there again. */
  resetMs: number;
  /** Milliseconds until the request may come that may not now; 0 where it may. */
  retryMs: number;
}

const minuteMs = 60_000;

/**
 * Quotas of requests a minute for any number of subjects, each kept as one number: when all of it will be there again.
 * That is the generic cell rate algorithm (ITU-T I.371): a quota may be spent at once, comes back evenly, and is never
 * spent twice where two minutes meet. Of more than `subjects`, the one longest unseen starts anew.
 */
export class RateMeter {
  readonly #fullAt: LRUCache<string, number>;

  constructor(subjects: number) {
    this.#fullAt = new LRUCache({ max: subjects });
  }

  /** The quota of `subject` as one more request at `now` would leave it. Nothing is spent. */
  ask(subject: string, limit: number, now: number): Quota {
    const resetMs = Math.max((this.#fullAt.get(subject) ?? 0) - now, 0) + minuteMs / limit;
    // Sums of fractions are a little off: the last request of a quota is still one of it.
    const left = (minuteMs - resetMs) * (limit / minuteMs) + 1e-6;
    if (left >= 0) return { limit, remaining: Math.floor(left), resetMs, retryMs: 0 };
    return { limit, remaining: 0, resetMs: resetMs - minuteMs / limit, retryMs: resetMs - minuteMs };
  }

  /** Spends what `ask` has said. */
  spend(subject: string, { resetMs }: Quota, now: number): void {
    this.#fullAt.set(subject, now + resetMs);
  }
}
