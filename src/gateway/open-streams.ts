import type { ServerResponse } from 'node:http';

/**
 * The streams that callers hold open: bounded for each upstream origin, whose sockets they take from the calls of all
 * tenants, and ended when the program stops, so that their callers resume elsewhere.
 */
export class OpenStreams {
  readonly #byOrigin = new Map<string, Set<ServerResponse>>();
  readonly #maxPerOrigin: number;

  constructor(maxPerOrigin: number) {
    this.#maxPerOrigin = maxPerOrigin;
  }

  /** Counts `response` until it closes; false if the origin has as many as it may. */
  add(origin: string, response: ServerResponse): boolean {
    const open = this.#byOrigin.get(origin) ?? new Set();
    if (open.has(response)) return true;
    if (open.size >= this.#maxPerOrigin) return false;
    this.#byOrigin.set(origin, open.add(response));
    response.once('close', () => {
      open.delete(response);
      if (open.size === 0 && this.#byOrigin.get(origin) === open) this.#byOrigin.delete(origin);
    });
    return true;
  }

  closeAll(): void {
    for (const open of this.#byOrigin.values()) for (const response of open) response.destroy();
  }
}
