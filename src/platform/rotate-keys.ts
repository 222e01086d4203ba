import type { Transaction } from 'kysely';
import type { Clock } from './clock.ts';
import { makeDataKey, unwrapDataKey, wrapDataKey } from './data-keys.ts';
import { createKeyring } from './keyring.ts';
import type { Limits } from './limits.ts';
import {
  followMasterKey,
  type MasterKey,
  MasterKeyError,
  makeKeyFile,
  nextKeyFile,
  replaceKeyFile,
  replaceMasterKey,
} from './master-key.ts';
import { resealValues, type UnreadableValue } from './reseal.ts';
import { signingKeysStale } from './store/invalidation.ts';
import type { Tables } from './store/schema.ts';
import type { Store } from './store/store.ts';
import type { Key } from './vault.ts';

/** What is on disk by now. Whichever step a rotation ends at, the database opens and the next rotation goes on. */
export type RotationStep =
  /** The new master key waits in its file, if Patchbay keeps it. */
  | { name: 'made' }
  /** The database is sealed with the new master key, and with no other. */
  | { name: 'rewrapped' }
  /** The file of the master key holds the new one. */
  | { name: 'replaced' }
  /** So many values are under the new data keys. */
  | { name: 'resealed'; values: number };

export interface Rotation {
  /** Namespaces that have a new data key. */
  namespaces: number;
  /** Values that are sealed anew. */
  values: number;
  /** Values that no key opens; they stay as they are, and so do the data keys of their namespaces. */
  unreadable: UnreadableValue[];
}

/**
 * Replaces the master key `current` and the data keys of all namespaces, and seals every value anew.
 * `given` is the new master key where the operator keeps it; otherwise it is made, in the file of the old one.
 * Throws MasterKeyError if that does not fit, or if another rotation was faster.
 */
export async function rotateKeys(
  { store, clock, limits }: { store: Store; clock: Clock; limits: Limits },
  current: MasterKey,
  given: Key | undefined,
  onStep: (step: RotationStep) => void,
): Promise<Rotation> {
  const next = followMasterKey(current, await newKey(current, given));
  onStep({ name: 'made' });
  const namespaces = await rewrap(store, clock, current, next);
  onStep({ name: 'rewrapped' });
  if (next.file !== undefined) await replaceKeyFile(next.file);
  onStep({ name: 'replaced' });
  const keyring = createKeyring(store, clock, next);
  const resealed = await resealValues(store, keyring, limits.resealBatchRows, (values) =>
    onStep({ name: 'resealed', values }),
  );
  await deleteUnused(store, clock, limits, new Set(resealed.unreadable.map(({ namespace }) => namespace)));
  return { namespaces, ...resealed };
}

async function newKey({ file, key }: MasterKey, given: Key | undefined): Promise<Key> {
  if (file !== undefined) {
    if (given) throw new MasterKeyError(`The master key is in ${file}: unset PATCHBAY_NEW_MASTER_KEY.`);
    // One that a rotation has left there is taken, not replaced: another process may be sealing with it.
    return makeKeyFile(nextKeyFile(file));
  }
  if (!given) throw new MasterKeyError('A new PATCHBAY_MASTER_KEY is needed to replace the one in use.');
  if (given.reveal().equals(key.reveal())) {
    throw new MasterKeyError('PATCHBAY_NEW_MASTER_KEY is the key in use. Make one: openssl rand -base64 32');
  }
  return given;
}

/** Wraps all data keys with `next`, and adds a new one to every namespace. Returns how many have one. */
async function rewrap(store: Store, clock: Clock, current: MasterKey, next: MasterKey): Promise<number> {
  return store.write(async (transaction, stale) => {
    // First, because it makes those wait that add a data key (requireCurrent).
    await replaceMasterKey(transaction, current, next);
    // And those that delete a namespace, before they and this come to wait for each other.
    const namespaces = transaction.selectFrom('namespaces').select('name').orderBy('name');
    await (store.kind === 'postgres' ? namespaces.forKeyShare() : namespaces).execute();
    const rows = await transaction.selectFrom('data_keys').selectAll().orderBy('version').execute();
    const newest = new Map<string, number>();
    for (const { namespace, version, wrapped } of rows) {
      const key = unwrapDataKey(current, namespace, version, wrapped);
      await transaction
        .updateTable('data_keys')
        .set({ wrapped: wrapDataKey(next, namespace, version, key) })
        .where('namespace', '=', namespace)
        .where('version', '=', version)
        .execute();
      newest.set(namespace, version);
    }
    for (const [namespace, before] of newest) {
      const version = before + 1;
      await transaction
        .insertInto('data_keys')
        .values({
          namespace,
          version,
          wrapped: makeDataKey(next, namespace, version),
          created_at: clock.now(),
        })
        .execute();
      stale(`namespace:${namespace}`);
    }
    await retireSigningKeys(transaction, clock, stale);
    return newest.size;
  });
}

/**
 * Private keys that sign tokens are given up with the master key that wraps them; the next token to be signed makes
 * another one. Their public keys stay, so that tokens signed before keep their time.
 */
async function retireSigningKeys(
  transaction: Transaction<Tables>,
  clock: Clock,
  stale: (key: string) => void,
): Promise<void> {
  await transaction
    .updateTable('signing_keys')
    .set({ wrapped: null, retired_at: clock.now() })
    .where('wrapped', 'is not', null)
    .execute();
  stale(signingKeysStale);
}

/**
 * Deletes data keys that no value is under, except in the namespaces `kept`. A server that shares the database
 * may have sealed a value with a replaced key that it is yet to store, so there such keys stay for a while.
 */
async function deleteUnused(
  store: Store,
  clock: Clock,
  limits: Limits,
  kept: ReadonlySet<string>,
): Promise<void> {
  const replacedBefore =
    store.kind === 'postgres' ? clock.now() - limits.replacedDataKeyMs : Number.MAX_SAFE_INTEGER;
  await store.write(async (transaction) => {
    const keys = await transaction
      .selectFrom('data_keys')
      .select(({ fn }) => ['namespace', fn.max('version').as('version')])
      .where('created_at', '<=', replacedBefore)
      .groupBy('namespace')
      .execute();
    for (const { namespace, version } of keys) {
      if (kept.has(namespace)) continue;
      await transaction
        .deleteFrom('data_keys')
        .where('namespace', '=', namespace)
        .where('version', '<', version)
        .execute();
    }
  });
}
