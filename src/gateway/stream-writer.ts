import type { ServerResponse } from 'node:http';
import type { AuditEntry } from '../audit/entry.ts';
import { EventBoundary, keepAliveComment } from './event-boundary.ts';
import { AnswerSign } from './read-answer-bytes.ts';
import type { RelayCall } from './relay-call.ts';
import { IdRestorer } from './restore-id.ts';
import { TickBatch } from './tick-batch.ts';

/**
 * Writes the body of an answer that streams: what came in one tick at once, and the caller's own id where ours travelled.
 * Of events it knows whether the answer was among them, and where a comment may stand.
 */
export class StreamWriter {
  readonly #response: ServerResponse;
  readonly #entry: AuditEntry;
  readonly #restorer: IdRestorer | undefined;
  readonly #answerSign: AnswerSign | undefined;
  readonly #boundary: EventBoundary | undefined;
  readonly #batch: TickBatch;

  /** `written` hears after each tick that brought something whether the reader can take more. */
  constructor(
    response: ServerResponse,
    entry: AuditEntry,
    isEvents: boolean,
    replacedId: RelayCall['replacedId'],
    written: (canTakeMore: boolean) => void,
  ) {
    this.#response = response;
    this.#entry = entry;
    this.#restorer = replacedId && new IdRestorer(replacedId.ours, replacedId.theirs);
    this.#answerSign = isEvents && !replacedId ? new AnswerSign() : undefined;
    this.#boundary = isEvents ? new EventBoundary() : undefined;
    this.#batch = new TickBatch((bytes) => {
      if (response.destroyed) return;
      if (bytes.length > 0) written(this.write(bytes));
      else if (entry.bytesOut === 0) response.flushHeaders();
    });
  }

  /** Lets the head go out, with what comes in this tick: a server's first event mostly comes with its head. */
  begin(): void {
    this.#batch.begin();
  }

  /** Whether the answer to the request was among what was written. */
  get isAnswered(): boolean {
    return this.#restorer?.restored ?? this.#answerSign?.seen ?? false;
  }

  /** Takes a piece, to be written with the others of this tick. */
  add(piece: Buffer): void {
    this.#batch.add(piece);
  }

  /** Writes at once; false where the reader cannot take more for now. */
  write(bytes: Buffer): boolean {
    this.#answerSign?.look(bytes);
    const restored = this.#restorer ? this.#restorer.push(bytes) : bytes;
    return restored.length === 0 || this.#send(restored);
  }

  /** Writes a comment, if one may stand here and the reader takes what there is. */
  comment(): void {
    if (this.#boundary?.isHere && !this.#response.writableNeedDrain) this.#send(keepAliveComment);
  }

  /** Writes what waits for the end of the tick. */
  flushTick(): void {
    this.#batch.flush();
  }

  /** Writes all that waits: also what may have become the begin of an id. Call it at the end of the body. */
  flush(): void {
    this.flushTick();
    const rest = this.#restorer?.flush();
    if (rest && rest.length > 0) this.#send(rest);
  }

  #send(bytes: Buffer): boolean {
    this.#entry.bytesOut += bytes.length;
    this.#boundary?.look(bytes);
    return this.#response.write(bytes);
  }
}
