import { createBoundedCache } from '../../platform/bounded-cache.ts';
import type { Clock } from '../../platform/clock.ts';
import { isSameSecret } from '../../platform/is-same-secret.ts';
import type { Limits } from '../../platform/limits.ts';
import type { Store } from '../../platform/store/store.ts';
import { roleOf } from '../members/role.ts';
import type { Principal } from '../principal.ts';
import { hashKey } from './hash-key.ts';
import { noteKeyUse } from './note-use.ts';

export interface KeyVerifier {
  /** The principal behind `token`, from memory alone. */
  recall(token: string): Principal | undefined;
  /** The principal behind `token`, or undefined. Synchronous when the key is remembered. */
  verify(token: string): Principal | undefined | Promise<Principal | undefined>;
}

/**
 * Looks keys up by hash and remembers valid ones; only the hash is kept, compared in constant time. Whenever it has to
 * look, it notes the time in the key's row.
 */
export function createKeyVerifier(store: Store, clock: Clock, limits: Limits): KeyVerifier {
  const known = createBoundedCache<{ digest: Buffer; principal: Principal }>(limits.identityCacheEntries, {
    ttl: limits.identityCacheMs,
    ttlResolution: limits.cacheClockMs,
  });
  // A row read before a change must not be remembered after it.
  let changes = 0;
  store.onStale((key) => {
    if (key !== null && !key.startsWith('key:')) return;
    changes++;
    if (key === null) known.clear();
    else known.delete(key.slice('key:'.length));
  });

  async function load(digest: string): Promise<Principal | undefined> {
    const seen = changes;
    const row = await store.db
      .selectFrom('api_keys')
      .leftJoin('members', (join) =>
        join
          .onRef('members.organization_id', '=', 'api_keys.organization_id')
          .onRef('members.user_id', '=', 'api_keys.user_id'),
      )
      .select(['api_keys.id', 'api_keys.organization_id', 'hash', 'last_used_at', 'api_keys.user_id', 'role'])
      .where('hash', '=', digest)
      .executeTakeFirst();
    const role = row && roleOf(row);
    if (!row || !role || !isSameSecret(row.hash, digest)) return undefined;
    await noteKeyUse(store, clock, limits, row);
    const principal: Principal = {
      kind: 'api_key',
      rootId: row.id,
      keyId: row.id,
      userId: row.user_id,
      tokenId: null,
      organizationId: row.organization_id,
      role,
      policies: [],
      ancestors: [],
      expiresAt: undefined,
      identity: row.id,
    };
    if (seen === changes) known.set(digest, { digest: Buffer.from(digest), principal });
    return principal;
  }

  function recall(digest: string): Principal | undefined {
    const entry = known.get(digest);
    return entry && isSameSecret(entry.digest, digest) ? entry.principal : undefined;
  }

  return {
    recall: (token) => recall(hashKey(token)),
    verify(token) {
      const digest = hashKey(token);
      return recall(digest) ?? load(digest);
    },
  };
}
