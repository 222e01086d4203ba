import { concat } from '../platform/concat.ts';

/**
 * Joins the pieces that come within one tick. A packet with a hundred small events comes as a hundred pieces, and each
 * write of its own costs a frame of HTTP and a search; joined they cost one, and wait for nothing.
 */
export class TickBatch {
  #pieces: Buffer[] = [];
  #isBegun = false;
  readonly #flushed: (bytes: Buffer) => void;

  /** `flushed` gets what came together, once the tick is over. */
  constructor(flushed: (bytes: Buffer) => void) {
    this.#flushed = flushed;
  }

  /** Once this tick is over, `flushed` is called also if nothing came: with no bytes. */
  begin(): void {
    this.#isBegun = true;
    process.nextTick(flush, this);
  }

  add(piece: Buffer): void {
    if (this.#pieces.push(piece) === 1 && !this.#isBegun) process.nextTick(flush, this);
  }

  /** Does not wait for the end of the tick. */
  flush(): void {
    if (this.#pieces.length === 0 && !this.#isBegun) return;
    this.#isBegun = false;
    const bytes = concat(this.#pieces);
    this.#pieces = [];
    this.#flushed(bytes);
  }
}

/** One function for all batches: a closure for each would be garbage on every packet. */
function flush(batch: TickBatch): void {
  batch.flush();
}
