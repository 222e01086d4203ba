import type { Transaction } from 'kysely';
import { ApiError } from '../../platform/errors.ts';
import type { Role, Tables } from '../../platform/store/schema.ts';
import { isStorableText } from '../../platform/store/storable-text.ts';
import type { Store } from '../../platform/store/store.ts';
import { revokeKeysOf } from '../api-keys/revoke.ts';
import { notAdmin } from '../permits.ts';
import type { Principal } from '../principal.ts';
import { checkOwnerChange, lockRoles } from './role.ts';

/**
 * Gives a member another role, in every process at once. Throws ApiError `not_found`, `forbidden` where only an owner
 * may, `last_owner`.
 */
export async function changeRole(
  store: Store,
  principal: Principal,
  userId: string,
  role: Role,
): Promise<void> {
  const { organizationId } = principal;
  await store.write(async (transaction, stale) => {
    const current = await lockRoles(transaction, organizationId);
    const from = current.get(userId);
    if (from === undefined) throw noMember();
    checkOwnerChange(principal, current, from, role);
    await transaction
      .updateTable('members')
      .set({ role })
      .where('organization_id', '=', organizationId)
      .where('user_id', '=', userId)
      .execute();
    // What an admin has given must not outlive that.
    if (role === 'member') await dropInvitationsOf(transaction, organizationId, userId);
    const keys = await transaction
      .selectFrom('api_keys')
      .select('hash')
      .where('organization_id', '=', organizationId)
      .where('user_id', '=', userId)
      .execute();
    for (const { hash } of keys) stale(`key:${hash}`);
  });
}

/**
 * Ends a membership, with the member's API keys and all that descends from them, and the invitations that the member
 * gave. Members may leave; else it takes an admin. Throws ApiError `not_found`, `forbidden`, `last_owner`.
 */
export async function removeMember(store: Store, principal: Principal, userId: string): Promise<void> {
  const { organizationId } = principal;
  if (principal.role === 'member' && principal.userId !== userId) throw notAdmin();
  if (!isStorableText(userId)) throw noMember();
  await store.write(async (transaction, stale) => {
    const current = await lockRoles(transaction, organizationId);
    const from = current.get(userId);
    if (from === undefined) throw noMember();
    checkOwnerChange(principal, current, from, undefined);
    await transaction
      .deleteFrom('members')
      .where('organization_id', '=', organizationId)
      .where('user_id', '=', userId)
      .execute();
    await dropInvitationsOf(transaction, organizationId, userId);
    await revokeKeysOf(transaction, stale, organizationId, userId);
    const sessions = await transaction
      .updateTable('browser_sessions')
      .set({ organization_id: null })
      .where('organization_id', '=', organizationId)
      .where('user_id', '=', userId)
      .returning('id')
      .execute();
    for (const { id } of sessions) stale(`root:${id}`);
  });
}

async function dropInvitationsOf(
  transaction: Transaction<Tables>,
  organizationId: string,
  userId: string,
): Promise<void> {
  await transaction
    .deleteFrom('invitations')
    .where('organization_id', '=', organizationId)
    .where('user_id', '=', userId)
    .execute();
}

function noMember(): ApiError {
  return new ApiError('not_found', { message: 'No such member' });
}
