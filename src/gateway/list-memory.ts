import { type ListItem, type ListName, lists } from '../mcp/lists.ts';
import { createBoundedCache } from '../platform/bounded-cache.ts';
import type { Limits } from '../platform/limits.ts';
import type { Target } from '../upstream/target.ts';

/** The last lists of each upstream, so that a call by name need not list first. */
export interface ListMemory {
  get<L extends ListName>(list: L, target: Target): readonly ListItem<L>[] | undefined;
  set<L extends ListName>(list: L, target: Target, items: readonly ListItem<L>[]): void;
}

/**
 * An empty memory, of this process alone. Lists are kept per connection and version of its target, so a change of
 * URL or headers forgets them; at most `listCacheEntries` of each kind, each for `listCacheMs`.
 */
export function createListMemory(limits: Limits): ListMemory {
  const caches = new Map(
    Object.keys(lists).map((list) => [
      list,
      createBoundedCache<readonly Record<string, unknown>[]>(limits.listCacheEntries, {
        ttl: limits.listCacheMs,
      }),
    ]),
  );
  const key = (target: Target) => `${target.uid}:${target.version}`;
  return {
    get: <L extends ListName>(list: L, target: Target) =>
      caches.get(list)?.get(key(target)) as readonly ListItem<L>[] | undefined,
    set: (list, target, items) => void caches.get(list)?.set(key(target), items),
  };
}
