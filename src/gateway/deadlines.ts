import type { Clock } from '../platform/clock.ts';

export interface Expiring {
  /** Time is up. */
  expire(): void;
}

const sweepMs = 250;

/**
 * Time limits of many calls with one timer: a deadline per call costs a map entry, where a timer each would
 * show in the relay's profile. A deadline is kept to within a quarter of a second.
 */
export class Deadlines {
  readonly #clock: Clock;
  readonly #deadlines = new Map<Expiring, number>();
  #sweeping = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls under way. */
  get size(): number {
    return this.#deadlines.size;
  }

  /** `at` is on the clock of `elapsed()`. */
  set(call: Expiring, at: number): void {
    this.#deadlines.set(call, at);
    if (this.#sweeping) return;
    this.#sweeping = true;
    this.#clock.after(sweepMs, () => this.#sweep());
  }

  delete(call: Expiring): void {
    this.#deadlines.delete(call);
  }

  #sweep(): void {
    this.#sweeping = false;
    const now = this.#clock.elapsed();
    for (const [call, at] of this.#deadlines) {
      if (at > now) continue;
      this.#deadlines.delete(call);
      call.expire();
    }
    if (this.#deadlines.size > 0 && !this.#sweeping) {
      this.#sweeping = true;
      this.#clock.after(sweepMs, () => this.#sweep());
    }
  }
}
