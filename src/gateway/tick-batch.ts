import { concat } from './read-answer-bytes.ts';

/**
 * Joins the pieces that come within one tick. A packet with a hundred small events comes as a hundred pieces, and each
 * write of its own costs a frame of HTTP and a search; joined they cost one, and wait for nothing.
 */
export class TickBatch {
  #pieces: Buffer[] = [];
  readonly #flush: (bytes: Buffer) => void;

  /** `flush` gets what came together, once the tick is over. */
  constructor(flush: (bytes: Buffer) => void) {
    this.#flush = flush;
  }

  add(piece: Buffer): void {
    if (this.#pieces.push(piece) === 1) process.nextTick(flush, this);
  }

  /** Takes out what has not been flushed. */
  take(): Buffer | undefined {
    if (this.#pieces.length === 0) return undefined;
    const bytes = concat(this.#pieces);
    this.#pieces = [];
    return bytes;
  }

  /** For the end of the tick alone. */
  flush(): void {
    const bytes = this.take();
    if (bytes) this.#flush(bytes);
  }
}

function flush(batch: TickBatch): void {
  batch.flush();
}
