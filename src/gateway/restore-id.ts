import { findTopLevelId } from '../mcp/json-scan.ts';

const quote = Buffer.from('"');
const nothing = Buffer.alloc(0);

/** Puts the caller's id back into a whole answer, with a character for each byte; see IdRestorer. */
export function restoreId(body: string, ours: string, theirs: Buffer): string {
  const written = theirs.toString('latin1');
  const restored = body.replaceAll(`"${ours}"`, () => written);
  if (restored !== body) return restored;
  // The upstream spells it with escapes; then the place is found by reading.
  const span = findTopLevelId(Buffer.from(body, 'latin1'));
  if (span === undefined || span === 'repeated') return body;
  return body.slice(0, span.start) + written + body.slice(span.end);
}

/**
 * Puts the caller's request id back where an answer carries ours. Ours is an unguessable string, so its quoted
 * form is searched in the bytes, JSON or SSE alike, without parsing them; inside a longer JSON string its
 * quotes would be escaped, so text of the upstream never matches. A match may be split between two chunks:
 * the beginning of one is kept back until the next chunk.
 */
export class IdRestorer {
  /** Whether an id was put back so far: whether the answer has come. */
  restored = false;
  readonly #ours: Buffer;
  readonly #theirs: Buffer;
  #kept: Buffer = nothing;

  /** `ours` is the id that was sent upstream; `theirs` the JSON text of the caller's. */
  constructor(ours: string, theirs: Buffer) {
    this.#ours = Buffer.from(`"${ours}"`);
    this.#theirs = theirs;
  }

  /** The chunk with ids restored, less an end that may be the beginning of one. */
  push(chunk: Buffer): Buffer {
    const bytes = this.#kept.length === 0 ? chunk : Buffer.concat([this.#kept, chunk]);
    const parts: Buffer[] = [];
    let from = 0;
    for (let at = bytes.indexOf(this.#ours); at !== -1; at = bytes.indexOf(this.#ours, from)) {
      this.restored = true;
      parts.push(bytes.subarray(from, at), this.#theirs);
      from = at + this.#ours.length;
    }
    const end = this.#partialMatch(bytes, from);
    this.#kept = end === bytes.length ? nothing : Buffer.from(bytes.subarray(end));
    if (parts.length === 0) return bytes.subarray(0, end);
    parts.push(bytes.subarray(from, end));
    return Buffer.concat(parts);
  }

  /** What was kept back, at the end of the stream. */
  flush(): Buffer {
    const rest = this.#kept;
    this.#kept = nothing;
    return rest;
  }

  /** Where, at the end of `bytes`, a beginning of our id starts; `bytes.length` if none does. */
  #partialMatch(bytes: Buffer, from: number): number {
    const longest = this.#ours.length - 1;
    let start = bytes.indexOf(quote, Math.max(from, bytes.length - longest));
    while (start !== -1) {
      const length = bytes.length - start;
      if (bytes.compare(this.#ours, 0, length, start) === 0) return start;
      start = bytes.indexOf(quote, start + 1);
    }
    return bytes.length;
  }
}
