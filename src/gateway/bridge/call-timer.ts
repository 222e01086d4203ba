import type { Limits } from '../../platform/limits.ts';
import { UpstreamFault } from '../../upstream/fault.ts';
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
  readonly #limits: Limits;
  readonly #startedAt: number;

  constructor(deps: RelayDeps) {
    this.#deps = deps;
    this.#limits = deps.limits;
    this.#startedAt = deps.elapsed();
    this.signal = this.#controller.signal;
    deps.deadlines.set(this, this.#startedAt + this.#limits.callHeadMs);
  }

  /** The upstream has said something: from now on only silence counts, and the whole. */
  heard(): void {
    if (this.signal.aborted) return;
    const { callSseIdleMs, callSseMs } = this.#limits;
    const idle = this.#deps.elapsed() + callSseIdleMs;
    this.#deps.deadlines.set(this, Math.min(idle, this.#startedAt + callSseMs));
  }

  /** A person is asked: the upstream waits, not we. */
  askedAPerson(): void {
    if (!this.signal.aborted)
      this.#deps.deadlines.set(this, this.#deps.elapsed() + this.#limits.suspendedCallMs);
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
