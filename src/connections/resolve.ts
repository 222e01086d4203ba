import { createBoundedCache } from '../platform/bounded-cache.ts';
import type { Connection } from './connection.ts';
import { isConnectionId } from './connection-id.ts';
import type { Credentials, ResolvedConnection } from './credentials.ts';
import { type ConnectionsDeps, staleKey } from './deps.ts';
import { findConnection } from './find.ts';

/** Connections as last stored, remembered until the row changes in any process. */
export interface Resolver {
  /**
   * The record alone. With one process on the store, memory is exact and answers at once; where other processes
   * write too, it lags behind by a notification, so readers of the API get what is stored.
   */
  find(namespace: string, id: string): Connection | undefined | Promise<Connection | undefined>;
  /** The record if it is remembered and not stale; asks nobody. */
  peek(connection: Pick<Connection, 'namespace' | 'id'>): Connection | undefined;
  /** For the data path: synchronous when remembered, so that a warm call awaits nothing. */
  resolve(
    namespace: string,
    id: string,
  ): ResolvedConnection | undefined | Promise<ResolvedConnection | undefined>;
}

/**
 * Builds the resolver of this process, with an empty memory of at most `recordCacheEntries` connections.
 * Its methods give undefined for a connection that is not there; they throw the store's error, and `resolve`
 * UnsealError too.
 */
export function createResolver(deps: ConnectionsDeps, credentials: Credentials): Resolver {
  const { store, limits } = deps;
  const known = createBoundedCache<{ connection: Connection; resolved?: ResolvedConnection }>(
    limits.recordCacheEntries,
    { ttl: limits.recordCacheMs, ttlResolution: limits.cacheClockMs },
  );
  // A row read before a change must not be remembered after it.
  let changes = 0;
  store.onStale((key) => {
    changes++;
    if (key === null || key.startsWith('namespace:')) known.clear();
    else known.delete(key);
  });

  async function load(key: string, namespace: string, id: string): Promise<Connection | undefined> {
    const seen = changes;
    const connection = await findConnection(store, namespace, id);
    if (connection && seen === changes) known.set(key, { connection });
    return connection;
  }

  async function loadResolved(
    key: string,
    namespace: string,
    id: string,
  ): Promise<ResolvedConnection | undefined> {
    const connection = known.get(key)?.connection ?? (await load(key, namespace, id));
    if (!connection) return undefined;
    const resolved = await credentials.open(connection);
    const entry = known.get(key);
    if (entry?.connection === connection) entry.resolved = resolved;
    return resolved;
  }

  return {
    find(namespace, id) {
      const key = staleKey(namespace, id);
      const connection = store.kind === 'sqlite' ? known.get(key)?.connection : undefined;
      if (connection) return connection;
      return isConnectionId(id, limits.connectionIdChars) ? load(key, namespace, id) : undefined;
    },
    peek({ namespace, id }) {
      return known.get(staleKey(namespace, id))?.connection;
    },
    resolve(namespace, id) {
      const key = staleKey(namespace, id);
      const resolved = known.get(key)?.resolved;
      if (resolved) return resolved;
      return isConnectionId(id, limits.connectionIdChars) ? loadResolved(key, namespace, id) : undefined;
    },
  };
}
