import type { Clock } from '../platform/clock.ts';

/** A call with a time limit. The two fields belong to `Deadlines`. */
export interface Expiring {
  /** When time is up, on the clock of `elapsed()`. */
  deadline: number;
  /** Where `Deadlines` keeps it; −1 while it does not. */
  slot: number;
  /** Time is up. */
  expire(): void;
}

const sweepMs = 250;

/**
 * Time limits of many calls with one timer, kept to within a quarter of a second. A plain array, from which the
 * last entry fills each gap: timers of their own, and a Map that is rehashed all the time, both showed in the
 * relay's profile, the latter as garbage that outlived its call (docs/performance.md).
 */
export class Deadlines {
  readonly #clock: Clock;
  readonly #calls: Expiring[] = [];
  #sweeping = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  set(call: Expiring, deadline: number): void {
    call.deadline = deadline;
    if (call.slot !== -1) return;
    call.slot = this.#calls.push(call) - 1;
    if (!this.#sweeping) this.#sweepLater();
  }

  delete(call: Expiring): void {
    const { slot } = call;
    if (slot === -1) return;
    call.slot = -1;
    const last = this.#calls.pop() as Expiring;
    if (last === call) return;
    this.#calls[slot] = last;
    last.slot = slot;
  }

  #sweepLater(): void {
    this.#sweeping = true;
    this.#clock.after(sweepMs, () => this.#sweep());
  }

  #sweep(): void {
    this.#sweeping = false;
    const now = this.#clock.elapsed();
    for (const call of this.#calls.filter(({ deadline }) => deadline <= now)) {
      this.delete(call);
      call.expire();
    }
    if (this.#calls.length > 0 && !this.#sweeping) this.#sweepLater();
  }
}
