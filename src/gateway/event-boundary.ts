const lf = 0x0a;
const cr = 0x0d;

/** Between two events a comment may stand without a doubt for any parser. */
export const keepAliveComment = Buffer.from(': keep-alive\n\n');

/**
 * Watches the bytes of an event stream for whether they end between two events: after a blank line, whose ends may be
 * LF, CRLF or CR (HTML, server-sent events). Three bytes of each chunk are looked at.
 */
export class EventBoundary {
  #last = lf;
  #before = lf;
  #beforeThat = lf;

  look(chunk: Buffer): void {
    for (let at = Math.max(0, chunk.length - 3); at < chunk.length; at++) {
      this.#beforeThat = this.#before;
      this.#before = this.#last;
      this.#last = chunk[at] as number;
    }
  }

  /** Whether a comment may stand here; so it is before the first byte. */
  get isHere(): boolean {
    if (this.#last === cr) return this.#before === cr;
    if (this.#last !== lf) return false;
    if (this.#before === lf) return true;
    return this.#before === cr && (this.#beforeThat === lf || this.#beforeThat === cr);
  }
}
