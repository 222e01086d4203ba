import { ApiError } from '../../platform/errors.ts';
import { isStorableText } from '../../platform/store/storable-text.ts';
import type { Store } from '../../platform/store/store.ts';

/**
 * Ends a key and all service tokens that descend from it, at once and in every process.
 * Throws ApiError `not_found` for what is no key of the organization.
 */
export async function revokeApiKey(store: Store, organizationId: string, keyId: string): Promise<void> {
  const notFound = () => new ApiError('not_found', { message: 'API key not found' });
  if (!isStorableText(keyId)) throw notFound();
  await store.write(async (transaction, stale) => {
    const deleted = await transaction
      .deleteFrom('api_keys')
      .where('organization_id', '=', organizationId)
      .where('id', '=', keyId)
      .returning('hash')
      .executeTakeFirst();
    if (!deleted) throw notFound();
    stale(`key:${deleted.hash}`);
    stale(`key-id:${keyId}`);
  });
}
