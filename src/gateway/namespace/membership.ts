import type { StaleKey } from '../../platform/store/invalidation.ts';
import type { Store } from '../../platform/store/store.ts';

/** Hears of one namespace: `changed` that a connection may have, `ended` that the namespace itself may be another. */
interface MembershipListener {
  changed(): void;
  ended(): void;
}

/** Who wants to know when the connections of a namespace change, in whichever process: they hear it from the store. */
export class Membership {
  readonly #listeners = new Map<string, Set<MembershipListener>>();

  constructor(store: Pick<Store, 'onStale'>) {
    store.onStale((key) => this.#hear(key));
  }

  /** Listens until the returned function is called. */
  listen(namespace: string, listener: MembershipListener): () => void {
    const listeners = this.#listeners.get(namespace) ?? new Set();
    this.#listeners.set(namespace, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(namespace) === listeners) {
        this.#listeners.delete(namespace);
      }
    };
  }

  #hear(key: StaleKey): void {
    if (key === null) {
      // Word was lost, of any namespace.
      for (const listeners of this.#listeners.values()) for (const listener of listeners) listener.ended();
      return;
    }
    const [, kind, namespace = ''] = /^(connection|namespace):([^/]*)/.exec(key) ?? [];
    for (const listener of this.#listeners.get(namespace) ?? []) {
      if (kind === 'connection') listener.changed();
      else listener.ended();
    }
  }
}
