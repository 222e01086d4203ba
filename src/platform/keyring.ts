import { hkdfSync } from 'node:crypto';
import type { Transaction } from 'kysely';
import type { Clock } from './clock.ts';
import { makeDataKey, unwrapDataKey } from './data-keys.ts';
import { type MasterKey, openMasterKey, requireCurrent, requireVersion } from './master-key.ts';
import { Secret } from './secret.ts';
import type { Tables } from './store/schema.ts';
import { isDuplicate, type Store } from './store/store.ts';
import { type Key, keyVersionOf, seal, UnsealError, unseal } from './vault.ts';

/**
 * Seals and opens values of a namespace under its own data keys. All of it throws MasterKeyError once another
 * process has rotated the keys: this one then has to start again with the new master key.
 */
export interface Keyring {
  /** Seals `plain` for the row named by `identity` (table, row, column), under the newest data key. */
  seal(namespace: string, identity: readonly string[], plain: Buffer): Promise<string>;
  /** Opens it again. Throws UnsealError if it was sealed for another row or namespace. */
  unseal(namespace: string, identity: readonly string[], sealed: string): Promise<Buffer>;
  /**
   * Seals what belongs to no namespace, under the master key itself; to be stored in `transaction`, which holds a
   * rotation up. A rotation does not seal it anew: it has to see to the row itself (rotate-keys.ts).
   */
  wrap(transaction: Transaction<Tables>, identity: readonly string[], plain: Buffer): Promise<string>;
  /** Opens it again. Throws UnsealError if it was wrapped for another row. */
  unwrap(identity: readonly string[], wrapped: string): Buffer;
  /** A 32-byte key of the whole installation, for `purpose` alone (HKDF-SHA256, RFC 5869); never stored. */
  derive(purpose: string): Secret<Buffer>;
}

/** The keyring of this process, under the master key that `openMasterKey` finds; throws what that throws. */
export async function openKeyring(
  store: Store,
  clock: Clock,
  dataDir: string,
  given: Key | undefined,
): Promise<Keyring> {
  return createKeyring(store, clock, await openMasterKey(store, dataDir, given));
}

/** A keyring under `master`, with an empty memory of opened data keys. */
export function createKeyring(store: Store, clock: Clock, master: MasterKey): Keyring {
  const opened = new Map<string, Key>();
  const derived = new Map<string, Key>();
  const name = (namespace: string, version: number) => `${namespace}/${version}`;
  // A namespace of the same name may come again, with keys of its own.
  let changes = 0;
  store.onStale((key) => {
    changes++;
    if (key === null) opened.clear();
    else if (key.startsWith('namespace:')) {
      const prefix = `${key.slice('namespace:'.length)}/`;
      for (const entry of opened.keys()) if (entry.startsWith(prefix)) opened.delete(entry);
    }
  });

  async function newestVersion(namespace: string): Promise<number> {
    const row = await store.db
      .selectFrom('data_keys')
      .select('version')
      .where('namespace', '=', namespace)
      .orderBy('version', 'desc')
      .limit(1)
      .executeTakeFirst();
    return row?.version ?? (await addFirstKey(namespace));
  }

  async function addFirstKey(namespace: string): Promise<number> {
    const version = 1;
    const wrapped = makeDataKey(master, namespace, version);
    try {
      await store.write(async (transaction) => {
        // Wrapped with a master key that is gone, it could never be opened again.
        await requireCurrent(store, transaction, master);
        await transaction
          .insertInto('data_keys')
          .values({ namespace, version, wrapped, created_at: clock.now() })
          .execute();
      });
    } catch (error) {
      // Another request or process was first; its key is as good.
      if (!isDuplicate(error)) throw error;
    }
    return version;
  }

  async function dataKey(namespace: string, version: number): Promise<Key> {
    const known = opened.get(name(namespace, version));
    if (known) return known;
    const seen = changes;
    const row = await store.db
      .selectFrom('data_keys')
      .select('wrapped')
      .where('namespace', '=', namespace)
      .where('version', '=', version)
      .executeTakeFirst();
    if (!row) throw new UnsealError(`There is no data key ${name(namespace, version)}.`);
    const key = unwrapDataKey(master, namespace, version, row.wrapped);
    if (seen === changes) opened.set(name(namespace, version), key);
    return key;
  }

  return {
    async seal(namespace, identity, plain) {
      const version = await newestVersion(namespace);
      return seal(await dataKey(namespace, version), version, [namespace, ...identity], plain);
    },
    async unseal(namespace, identity, sealed) {
      const key = await dataKey(namespace, keyVersionOf(sealed));
      return unseal(key, [namespace, ...identity], sealed);
    },
    async wrap(transaction, identity, plain) {
      await requireCurrent(store, transaction, master);
      return seal(master.key, master.version, identity, plain);
    },
    unwrap(identity, wrapped) {
      requireVersion(master, keyVersionOf(wrapped));
      return unseal(master.key, identity, wrapped);
    },
    derive(purpose) {
      const known = derived.get(purpose);
      if (known) return known;
      const key = new Secret(Buffer.from(hkdfSync('sha256', master.key.reveal(), '', purpose, 32)));
      derived.set(purpose, key);
      return key;
    },
  };
}
