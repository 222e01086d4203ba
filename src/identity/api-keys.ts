import { hash, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../platform/clock.ts';
import { randomText, rowId } from '../platform/ids.ts';
import type { Limits } from '../platform/limits.ts';
import { Secret } from '../platform/secret.ts';
import { isDuplicate, type Store } from '../platform/store/store.ts';
import { noteKeyUse } from './note-key-use.ts';
import type { Principal } from './principal.ts';

/**
 * Keys carry 238 random bits, so one round of SHA-256 protects them at rest: there is nothing to guess.
 * (A key fixed by PATCHBAY_API_KEY is as strong as its owner made it.)
 */
function hashKey(key: string): string {
  return hash('sha256', key, 'base64url');
}

export interface CreatedApiKey {
  id: string;
  key: Secret<string>;
  /** Epoch milliseconds. */
  createdAt: number;
}

/** Makes a key for an organization; the value is shown to its owner and not kept. */
export async function createApiKey(
  store: Store,
  clock: Clock,
  organizationId: string,
  name: string,
): Promise<CreatedApiKey> {
  const key = `pb_${randomText(40)}`;
  const createdAt = clock.now();
  const id = await storeApiKey(store, createdAt, organizationId, name, key);
  return { id, key: new Secret(key), createdAt };
}

/** Makes `key`, chosen by the operator, valid. Does nothing if it is already. */
export async function ensureApiKey(
  store: Store,
  clock: Clock,
  organizationId: string,
  name: string,
  key: Secret<string>,
): Promise<void> {
  const known = await store.db
    .selectFrom('api_keys')
    .select('id')
    .where('hash', '=', hashKey(key.reveal()))
    .executeTakeFirst();
  if (known) return;
  try {
    await storeApiKey(store, clock.now(), organizationId, name, key.reveal());
  } catch (error) {
    // Another process that starts with the same setting was first.
    if (!isDuplicate(error)) throw error;
  }
}

/** Returns the id of the row. */
async function storeApiKey(
  store: Store,
  createdAt: number,
  organizationId: string,
  name: string,
  key: string,
): Promise<string> {
  const digest = hashKey(key);
  const id = rowId('key');
  await store.write(async (transaction, stale) => {
    await transaction
      .insertInto('api_keys')
      .values({
        id,
        organization_id: organizationId,
        name,
        hash: digest,
        created_at: createdAt,
        last_used_at: null,
      })
      .execute();
    stale(`key:${digest}`);
  });
  return id;
}

export interface KeyVerifier {
  /** The principal behind `token`, or undefined. Synchronous when the key is remembered. */
  verify(token: string): Principal | undefined | Promise<Principal | undefined>;
}

/**
 * Looks keys up by hash and remembers valid ones; only the hash is kept, compared in constant time. Whenever it has to
 * look, it notes the time in the key's row.
 */
export function createKeyVerifier(store: Store, clock: Clock, limits: Limits): KeyVerifier {
  const known = new LRUCache<string, { digest: Buffer; principal: Principal }>({
    max: limits.identityCacheEntries,
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
      .select(['id', 'organization_id', 'hash', 'last_used_at'])
      .where('hash', '=', digest)
      .executeTakeFirst();
    if (!row || !sameDigest(Buffer.from(row.hash), digest)) return undefined;
    await noteKeyUse(store, clock, limits, row);
    const principal: Principal = {
      kind: 'api_key',
      keyId: row.id,
      tokenId: null,
      organizationId: row.organization_id,
      policies: [],
      ancestors: [],
      expiresAt: undefined,
      identity: row.id,
    };
    if (seen === changes) known.set(digest, { digest: Buffer.from(digest), principal });
    return principal;
  }

  return {
    verify(token) {
      const digest = hashKey(token);
      const entry = known.get(digest);
      if (entry && sameDigest(entry.digest, digest)) return entry.principal;
      return load(digest);
    },
  };
}

function sameDigest(stored: Buffer, given: string): boolean {
  const bytes = Buffer.from(given);
  return stored.length === bytes.length && timingSafeEqual(stored, bytes);
}
