import { backoffMs } from '../platform/backoff.ts';
import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import type { Limits } from '../platform/limits.ts';
import { UpstreamBusy, type UpstreamFault } from './fault.ts';
import { type RetryAfter, retryAfterMs } from './retry-after.ts';
import type { Target } from './target.ts';

/** What is known of an upstream that is not quite well. Times are on the clock of `elapsed()`. */
interface Circuit {
  version: number;
  /** Failures in a row, and when the first of them was. */
  failures: number;
  failingSince: number;
  lastFailure: string;
  /** Until when no call is made; undefined while the circuit is closed. */
  openUntil: number | undefined;
  /** How often it opened since a call last succeeded. */
  openings: number;
  /** Who makes the one call that may try; asked by identity. */
  trial: WeakRef<object> | undefined;
  /** Until when the upstream asked to be left alone. */
  pausedUntil: number;
}

/**
 * Spares upstreams calls that would be in vain: one that asks for a pause (429, or 503 with Retry-After) is not called
 * before its end, and one that could not be reached several times in a row is left alone for a moment, after which one
 * call tries (half-open). A healthy upstream has no entry, so a call costs one look into an empty Map.
 *
 * The key is the connection and the version of its target, not the origin: what one tenant's credentials, headers or
 * path bring about never closes the way of another (docs/calls.md).
 */
export class Circuits {
  readonly #clock: Clock;
  readonly #limits: Limits;
  /** In the order of their making, so that the oldest gives way. */
  readonly #circuits = new Map<string, Circuit>();

  constructor(clock: Clock, limits: Limits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /**
   * Lets a call to `target` through. `call` is any object that stands for the call: it may come through again, as when
   * it lists tools first. Throws ApiError `rate_limited` while the upstream wants a pause, `circuit_open` while it is
   * left alone.
   */
  enter({ uid, version }: Target, call: object): void {
    const circuit = this.#circuits.get(uid);
    if (!circuit) return;
    if (circuit.version !== version) {
      this.#circuits.delete(uid);
      return;
    }
    const now = this.#clock.elapsed();
    if (now < circuit.pausedUntil) throw pausedError(circuit.pausedUntil - now);
    if (circuit.openUntil === undefined || circuit.trial?.deref() === call) return;
    if (now < circuit.openUntil) throw openError(circuit, circuit.openUntil - now);
    // Half-open. A trial of which nothing is heard makes way for another after the same time.
    circuit.trial = new WeakRef(call);
    circuit.openUntil = now + this.#coolDownMs(circuit);
  }

  /** How long the upstream still wants to be left alone. */
  pausedMs(uid: string): number {
    const circuit = this.#circuits.get(uid);
    return circuit ? Math.max(0, circuit.pausedUntil - this.#clock.elapsed()) : 0;
  }

  /** A call or a probe was answered. */
  succeeded(uid: string): void {
    const circuit = this.#circuits.get(uid);
    if (circuit) this.#close(uid, circuit);
  }

  /** A call or a probe failed. */
  failed({ uid, version }: { uid: string; version: number }, fault: UpstreamFault): void {
    if (fault instanceof UpstreamBusy) this.#pause(uid, version, fault.retryAfter);
    const known = this.#circuits.get(uid);
    // Whatever an upstream answers, it was reached.
    if (!fault.onTheWay) {
      if (known) this.#close(uid, known);
      return;
    }
    const circuit = known?.version === version ? known : this.#add(uid, version);
    const now = this.#clock.elapsed();
    if (circuit.failures++ === 0) circuit.failingSince = now;
    circuit.lastFailure = fault.message;
    if (circuit.openUntil !== undefined) {
      // Calls from before it opened end now, and are no news.
      if (!circuit.trial) return;
    } else if (
      circuit.failures < this.#limits.circuitFailures ||
      now - circuit.failingSince < this.#limits.circuitFailingMs
    ) {
      return;
    }
    circuit.trial = undefined;
    circuit.openings++;
    circuit.openUntil = now + this.#coolDownMs(circuit);
  }

  /** The connection was set or deleted: what was known of it is void. */
  reset(uid: string): void {
    this.#circuits.delete(uid);
  }

  #pause(uid: string, version: number, retryAfter: RetryAfter): void {
    const ms = Math.min(retryAfterMs(retryAfter, this.#clock.now()) ?? 0, this.#limits.retryAfterMaxMs);
    if (ms <= 0) return;
    const known = this.#circuits.get(uid);
    const circuit = known?.version === version ? known : this.#add(uid, version);
    circuit.pausedUntil = Math.max(circuit.pausedUntil, this.#clock.elapsed() + ms);
  }

  /** A pause goes on: an answer to a call from before it does not end it. */
  #close(uid: string, { version, pausedUntil }: Circuit): void {
    this.#circuits.delete(uid);
    if (pausedUntil > this.#clock.elapsed()) this.#add(uid, version).pausedUntil = pausedUntil;
  }

  #add(uid: string, version: number): Circuit {
    const circuit: Circuit = {
      version,
      failures: 0,
      failingSince: 0,
      lastFailure: '',
      openUntil: undefined,
      openings: 0,
      trial: undefined,
      pausedUntil: 0,
    };
    this.#circuits.delete(uid);
    this.#circuits.set(uid, circuit);
    if (this.#circuits.size > this.#limits.circuits) {
      const [oldest] = this.#circuits.keys();
      if (oldest !== undefined) this.#circuits.delete(oldest);
    }
    return circuit;
  }

  #coolDownMs({ openings }: Circuit): number {
    return backoffMs(openings, this.#limits.circuitOpenMinMs, this.#limits.circuitOpenMaxMs);
  }
}

function pausedError(leftMs: number): ApiError {
  return new ApiError('rate_limited', { headers: { 'retry-after': seconds(leftMs) } });
}

function openError({ failures, lastFailure }: Circuit, leftMs: number): ApiError {
  const left = seconds(leftMs);
  return new ApiError('circuit_open', {
    message: `The upstream could not be called ${failures} times in a row (${lastFailure}). It is tried again in ${left} s; PUT the connection to try at once.`,
    headers: { 'retry-after': left },
    // It did not run.
    retryable: true,
  });
}

function seconds(ms: number): string {
  return String(Math.max(1, Math.ceil(ms / 1000)));
}
