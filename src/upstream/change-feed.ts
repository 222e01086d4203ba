import type { UpstreamMessage } from './legacy-session.ts';

const changes = new Set([
  'notifications/tools/list_changed',
  'notifications/prompts/list_changed',
  'notifications/resources/list_changed',
  'notifications/resources/updated',
]);

/** Whether a notification tells of a change at the server, and so concerns no single request. */
export function isChange({ method }: UpstreamMessage): boolean {
  return changes.has(method);
}

/**
 * What upstreams say of their changes, by connection: a server tells some session of it, and it concerns all. Of this
 * process alone.
 */
export class ChangeFeed {
  readonly #listeners = new Map<string, Set<(message: UpstreamMessage) => void>>();
  readonly #listenersToAll: ((uid: string) => void)[] = [];

  /** Tells who listens on the connection `uid`. */
  tell(uid: string, message: UpstreamMessage): void {
    for (const listener of this.#listenersToAll) listener(uid);
    for (const listener of this.#listeners.get(uid) ?? []) listener(message);
  }

  /** Hears of which connections something has changed, for as long as the program runs; before those who listen on one. */
  listenToAll(listener: (uid: string) => void): void {
    this.#listenersToAll.push(listener);
  }

  /** Hears the changes of the connection `uid` until the returned function is called. */
  listen(uid: string, listener: (message: UpstreamMessage) => void): () => void {
    const listeners = this.#listeners.get(uid) ?? new Set();
    this.#listeners.set(uid, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(uid) === listeners) this.#listeners.delete(uid);
    };
  }
}
