import type { ListItem, ListName } from '../mcp/lists.ts';
import { createBoundedCache } from '../platform/bounded-cache.ts';
import type { Limits } from '../platform/limits.ts';
import type { ChangeFeed } from '../upstream/change-feed.ts';
import type { Target } from '../upstream/target.ts';

/**
 * Lists that their servers allow to be used again, for as long as they say (`ttlMs`; MCP 2026-07-28, server/utilities/caching),
 * or until they tell of a change. Kept for each connection and version of its target, which is one identity at the
 * server: so what is `private` there reaches nobody else, and what is `public` is not taken at its word.
 */
export interface FreshLists {
  get<L extends ListName>(list: L, target: Target): readonly ListItem<L>[] | undefined;
  /** Keeps nothing where `ttlMs` is not positive: such a list is stale at once. */
  keep<L extends ListName>(list: L, target: Target, items: readonly ListItem<L>[], ttlMs: number): void;
}

/** An empty memory, of this process alone; `feed` tells it of changes. */
export function createFreshLists(limits: Limits, feed: ChangeFeed): FreshLists {
  const kept = createBoundedCache<readonly Record<string, unknown>[]>(limits.listCacheEntries);
  const versions = createBoundedCache<number>(limits.listCacheEntries);
  // A change makes all that was kept of the connection unreachable: its key is another one from then on.
  feed.listenToAll((uid) => versions.set(uid, (versions.get(uid) ?? 0) + 1));
  const key = (list: ListName, { uid, version }: Target) =>
    [list, uid, version, versions.get(uid) ?? 0].join(' ');
  return {
    get: <L extends ListName>(list: L, target: Target) =>
      kept.get(key(list, target)) as readonly ListItem<L>[] | undefined,
    keep(list, target, items, ttlMs) {
      if (!(ttlMs > 0)) return;
      kept.set(key(list, target), items, { ttl: Math.min(ttlMs, limits.listFreshMaxMs) });
    },
  };
}
