const newline = 0x0a;

/** What a line reader found. */
export interface LineListener {
  /** One whole line, without its end and without a carriage return before it; empty ones are left out. */
  line(bytes: Buffer): void;
  /** A line that was too long to keep: its beginning and its end, as much as `keptBytes` of each. */
  tooLong(head: Buffer, tail: Buffer): void;
}

/** Cuts a stream of bytes into lines, as MCP servers on stdio write their messages; keeps no more than `maxBytes` of one. */
export class LineReader {
  readonly #maxBytes: number;
  readonly #keptBytes: number;
  readonly #listener: LineListener;
  #chunks: Buffer[] = [];
  #bytes = 0;
  /** The beginning of a line that is too long, while its end has not come. */
  #overlong: Buffer | undefined;

  constructor(maxBytes: number, keptBytes: number, listener: LineListener) {
    this.#maxBytes = maxBytes;
    this.#keptBytes = keptBytes;
    this.#listener = listener;
  }

  push(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      this.#keep(chunk.subarray(start, end));
      this.#finish();
      start = end + 1;
    }
    if (start < chunk.length) this.#keep(chunk.subarray(start));
  }

  #keep(part: Buffer): void {
    this.#chunks.push(part);
    this.#bytes += part.length;
    if (this.#bytes <= this.#maxBytes) return;
    const all = Buffer.concat(this.#chunks);
    this.#overlong ??= Buffer.from(all.subarray(0, this.#keptBytes));
    const tail = Buffer.from(all.subarray(-this.#keptBytes));
    this.#chunks = [tail];
    this.#bytes = this.#maxBytes - this.#keptBytes;
  }

  #finish(): void {
    const whole = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    const overlong = this.#overlong;
    this.#chunks = [];
    this.#bytes = 0;
    this.#overlong = undefined;
    if (overlong) return this.#listener.tooLong(overlong, whole.subarray(-this.#keptBytes));
    const line = whole.at(-1) === 0x0d ? whole.subarray(0, -1) : whole;
    if (line.length > 0) this.#listener.line(line);
  }
}
