import type { Transaction } from 'kysely';
import { ApiError } from '../../platform/errors.ts';
import type { Tables } from '../../platform/store/schema.ts';
import { isStorableText } from '../../platform/store/storable-text.ts';
import type { Store } from '../../platform/store/store.ts';
import type { Principal } from '../principal.ts';

/**
 * Ends a key and all that descends from it, at once and in every process: service tokens, sessions, invitations. A
 * member ends its own keys, an admin all. Throws ApiError `not_found` for what is no key of the organization.
 */
export async function revokeApiKey(
  store: Store,
  { organizationId, role, userId }: Principal,
  keyId: string,
): Promise<void> {
  const notFound = () => new ApiError('not_found', { message: 'API key not found' });
  if (!isStorableText(keyId)) throw notFound();
  await store.write(async (transaction, stale) => {
    const deleted = await transaction
      .deleteFrom('api_keys')
      .where('organization_id', '=', organizationId)
      .where('id', '=', keyId)
      .$if(role === 'member', (query) => query.where('user_id', '=', userId))
      .returning(['id', 'hash'])
      .executeTakeFirst();
    if (!deleted) throw notFound();
    forgetKey(stale, deleted);
  });
}

/** Ends all keys of a member there. */
export async function revokeKeysOf(
  transaction: Transaction<Tables>,
  stale: (key: string) => void,
  organizationId: string,
  userId: string,
): Promise<void> {
  const deleted = await transaction
    .deleteFrom('api_keys')
    .where('organization_id', '=', organizationId)
    .where('user_id', '=', userId)
    .returning(['id', 'hash'])
    .execute();
  for (const key of deleted) forgetKey(stale, key);
}

function forgetKey(stale: (key: string) => void, { id, hash }: { id: string; hash: string }): void {
  stale(`key:${hash}`);
  stale(`root:${id}`);
}
