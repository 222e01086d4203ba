import type { Transaction } from 'kysely';
import type { Clock } from '../../platform/clock.ts';
import { rowId } from '../../platform/ids.ts';
import type { Tables } from '../../platform/store/schema.ts';
import type { Store } from '../../platform/store/store.ts';

/** Somebody as their provider knows them. */
export interface ProviderUser {
  issuer: string;
  subject: string;
  name: string;
  email: string | null;
}

/** Makes a user who signs in with an API key. Returns the id. */
export async function insertUser(
  transaction: Transaction<Tables>,
  now: number,
  { name }: { name: string },
): Promise<string> {
  const id = rowId('usr');
  await transaction
    .insertInto('users')
    .values({ id, name, email: null, issuer: null, subject: null, created_at: now })
    .execute();
  return id;
}

/**
 * The user whom a provider knows as this subject, made if there is none yet, with the name and address that it says now.
 * Nothing else tells users apart: an address may be given to another person, or be claimed.
 */
export async function ensureProviderUser(store: Store, clock: Clock, user: ProviderUser): Promise<string> {
  const { name, email } = user;
  const row = await store.write((transaction) =>
    transaction
      .insertInto('users')
      .values({ id: rowId('usr'), ...user, created_at: clock.now() })
      .onConflict((conflict) => conflict.columns(['issuer', 'subject']).doUpdateSet({ name, email }))
      .returning('id')
      .executeTakeFirstOrThrow(),
  );
  return row.id;
}
