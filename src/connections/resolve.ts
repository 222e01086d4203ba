import { LRUCache } from 'lru-cache';
import { createTarget, type Target } from '../upstream/target.ts';
import type { Connection } from './connection.ts';
import { isConnectionId } from './connection-id.ts';
import { type ConnectionsDeps, staleKey } from './deps.ts';
import { findConnection } from './find.ts';
import { unsealHeaders } from './sealed-headers.ts';

/** A connection ready to be called: the record, and its target with the headers opened. */
export interface ResolvedConnection {
  connection: Connection;
  target: Target;
}

/**
 * Connections for the data path: read and unsealed once, remembered until the row changes in any process.
 */
export interface Resolver {
  /** Synchronous when remembered, so that a warm call awaits nothing; undefined when there is none. */
  resolve(
    namespace: string,
    id: string,
  ): ResolvedConnection | undefined | Promise<ResolvedConnection | undefined>;
}

export function createResolver(deps: ConnectionsDeps): Resolver {
  const { store, keyring, limits } = deps;
  const known = new LRUCache<string, ResolvedConnection>({
    max: limits.recordCacheEntries,
    ttl: limits.recordCacheMs,
  });
  // A row read before a change must not be remembered after it.
  let changes = 0;
  store.onStale((key) => {
    changes++;
    if (key === null || key.startsWith('namespace:')) known.clear();
    else known.delete(key);
  });

  async function load(key: string, namespace: string, id: string): Promise<ResolvedConnection | undefined> {
    const seen = changes;
    const connection = await findConnection(store, namespace, id);
    if (!connection) return undefined;
    const { uid, targetVersion, mcpUrl, sealedHeaders } = connection;
    const headers = await unsealHeaders(keyring, namespace, uid, sealedHeaders);
    const resolved = { connection, target: createTarget(uid, targetVersion, mcpUrl, headers) };
    if (seen === changes) known.set(key, resolved);
    return resolved;
  }

  return {
    resolve(namespace, id) {
      const key = staleKey(namespace, id);
      const resolved = known.get(key);
      if (resolved) return resolved;
      if (!isConnectionId(id, limits.connectionIdChars)) return undefined;
      return load(key, namespace, id);
    },
  };
}
