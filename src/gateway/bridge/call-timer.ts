import { UpstreamFault } from '../../upstream/fault.ts';
import type { TimeLimits } from '../../upstream/target.ts';
import type { Expiring } from '../deadlines.ts';
import type { RelayDeps } from '../relay.ts';

/** The time limits of one call of the bridge: those of a relayed one. */
export class CallTimer implements Expiring {
  deadline = 0;
  slot = -1;
  /** Aborted with an UpstreamFault `timeout` when time is up. */
  readonly signal: AbortSignal;
  readonly #controller = new AbortController();
  readonly #deps: RelayDeps;
  readonly #timeLimits: TimeLimits;
  readonly #startedAt: number;

  constructor(deps: RelayDeps, timeLimits: TimeLimits) {
    this.#deps = deps;
    this.#timeLimits = timeLimits;
    this.#startedAt = deps.elapsed();
    this.signal = this.#controller.signal;
    deps.deadlines.set(this, this.#startedAt + timeLimits.callTimeoutMs);
  }

  /** The upstream has said something: from now on only silence counts, and the whole. */
  heard(): void {
    if (this.signal.aborted) return;
    const { idleTimeoutMs, maxCallMs } = this.#timeLimits;
    const idle = this.#deps.elapsed() + idleTimeoutMs;
    this.#deps.deadlines.set(this, Math.min(idle, this.#startedAt + maxCallMs));
  }

  /** A person is asked: the upstream waits, not we. */
  askedAPerson(): void {
    if (this.signal.aborted) return;
    const { deadlines, elapsed, limits } = this.#deps;
    deadlines.set(this, elapsed() + limits.suspendedCallMs);
  }

  /** The call is over. */
  end(): void {
    this.#deps.deadlines.delete(this);
  }

  /** Breaks the call off. */
  abort(reason: Error): void {
    this.end();
    this.#controller.abort(reason);
  }

  /** Called by `Deadlines`. */
  expire(): void {
    this.#controller.abort(new UpstreamFault('timeout', 'upstream did not answer in time'));
  }
}
