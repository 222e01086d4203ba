import type { Limits } from '../../platform/limits.ts';

/** What a server said while its caller had no stream open; beyond its limits the oldest goes. */
export class MessageQueue {
  readonly #limits: Limits;
  readonly #waiting: { message: unknown; chars: number }[] = [];
  #chars = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  add(message: unknown): void {
    const chars = JSON.stringify(message).length;
    this.#waiting.push({ message, chars });
    this.#chars += chars;
    const { sseQueuedMessages, sseQueuedChars } = this.#limits;
    while (this.#waiting.length > sseQueuedMessages || this.#chars > sseQueuedChars) {
      this.#chars -= this.#waiting.shift()?.chars ?? 0;
    }
  }

  /** All that waits, oldest first; then nothing does. */
  take(): unknown[] {
    this.#chars = 0;
    return this.#waiting.splice(0).map(({ message }) => message);
  }
}
