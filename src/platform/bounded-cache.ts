import { LRUCache } from 'lru-cache';

/** A memory of things by name that forgets those unused for longest. */
export type BoundedCache<V extends NonNullable<unknown>> = LRUCache<string, V>;

/**
 * An empty cache of at most `entries` values; each is forgotten `ttl` milliseconds after it was set, to within `ttlResolution`,
 * or never. Given a `max`, lru-cache reserves the room for that many at once, and the caches of one process, which are mostly
 * empty, took 12 MB: given a `maxSize` of which each value is 1, it grows as it fills.
 */
export function createBoundedCache<V extends NonNullable<unknown>>(
  entries: number,
  expiry: { ttl?: number; ttlResolution?: number } = {},
): BoundedCache<V> {
  return new LRUCache<string, V>({ maxSize: entries, sizeCalculation: () => 1, ...expiry });
}
