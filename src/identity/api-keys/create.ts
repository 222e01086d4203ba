import type { Transaction } from 'kysely';
import type { Clock } from '../../platform/clock.ts';
import { randomText, rowId } from '../../platform/ids.ts';
import { Secret } from '../../platform/secret.ts';
import type { Tables } from '../../platform/store/schema.ts';
import { isDuplicate, type Store } from '../../platform/store/store.ts';
import { hashKey } from './hash-key.ts';

export interface CreatedApiKey {
  id: string;
  key: Secret<string>;
  /** Epoch milliseconds. */
  createdAt: number;
}

/** Whose key it is: of an organization, or of a member there. */
export interface KeyOwner {
  organizationId: string;
  userId: string | null;
}

/** Makes a key for an organization; the value is shown to its owner and not kept. */
export function createApiKey(
  store: Store,
  clock: Clock,
  organizationId: string,
  name: string,
): Promise<CreatedApiKey> {
  return store.write((transaction, stale) =>
    insertApiKey(transaction, stale, clock, { organizationId, userId: null }, name),
  );
}

/** The same, as a part of what else is written. */
export async function insertApiKey(
  transaction: Transaction<Tables>,
  stale: (key: string) => void,
  clock: Clock,
  owner: KeyOwner,
  name: string,
): Promise<CreatedApiKey> {
  const key = `pb_${randomText(40)}`;
  const createdAt = clock.now();
  const id = await insertRow(transaction, stale, createdAt, owner, name, key);
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
    await store.write((transaction, stale) =>
      insertRow(transaction, stale, clock.now(), { organizationId, userId: null }, name, key.reveal()),
    );
  } catch (error) {
    // Another process that starts with the same setting was first.
    if (!isDuplicate(error)) throw error;
  }
}

/** Returns the id of the row. */
async function insertRow(
  transaction: Transaction<Tables>,
  stale: (key: string) => void,
  createdAt: number,
  { organizationId, userId }: KeyOwner,
  name: string,
  key: string,
): Promise<string> {
  const digest = hashKey(key);
  const id = rowId('key');
  await transaction
    .insertInto('api_keys')
    .values({
      id,
      organization_id: organizationId,
      name,
      hash: digest,
      created_at: createdAt,
      last_used_at: null,
      user_id: userId,
    })
    .execute();
  stale(`key:${digest}`);
  return id;
}
