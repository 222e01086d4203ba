import type { Clock } from '../../platform/clock.ts';
import { ApiError } from '../../platform/errors.ts';
import type { Limits } from '../../platform/limits.ts';
import type { Store } from '../../platform/store/store.ts';
import type { Principal } from '../principal.ts';

/** What the caches of all processes hear of a token that was revoked. */
export function revokedStale(organizationId: string, tokenId: string): string {
  return `token:${organizationId}/${tokenId}`;
}

/**
 * Revokes a service token and all that descend from it, at once and in every process. An API key may revoke each token
 * of its organization, a service token itself. Tokens are kept nowhere, so for an API key an id that no token has is no
 * error (as in RFC 7009 §2.2). Throws ApiError `not_found` for what is no id, or no token of the caller.
 */
export async function revokeToken(
  { store, clock, limits }: { store: Store; clock: Clock; limits: Limits },
  { organizationId, tokenId: own }: Principal,
  tokenId: string,
): Promise<void> {
  if (!/^tok_[\w-]{22}$/.test(tokenId) || (own !== null && own !== tokenId)) {
    throw new ApiError('not_found', { message: 'Token not found' });
  }
  const now = clock.now();
  await store.write(async (transaction, stale) => {
    await transaction.deleteFrom('revoked_tokens').where('expires_at', '<=', now).execute();
    await transaction
      .insertInto('revoked_tokens')
      .values({
        organization_id: organizationId,
        token_id: tokenId,
        // By then every token of now has ended by itself.
        expires_at: now + limits.tokenMaxMs,
      })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    stale(revokedStale(organizationId, tokenId));
  });
}
