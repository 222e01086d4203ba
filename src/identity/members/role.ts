import type { Transaction } from 'kysely';
import { ApiError } from '../../platform/errors.ts';
import type { Role, Tables } from '../../platform/store/schema.ts';
import type { Principal } from '../principal.ts';

/** All roles, the one that may most first. */
export const roles = ['owner', 'admin', 'member'] as const satisfies readonly Role[];

/** What may be administered with a key or session; undefined if it is of a user who is no member (any more). */
export function roleOf({ user_id, role }: { user_id: string | null; role: Role | null }): Role | undefined {
  // Those of the organization itself administer it.
  return user_id === null ? 'admin' : (role ?? undefined);
}

/** Keeps the members of an organization from changing until the transaction ends. Returns their roles. */
export async function lockRoles(
  transaction: Transaction<Tables>,
  organizationId: string,
): Promise<Map<string, Role>> {
  // An update that changes nothing takes the lock on both databases.
  await transaction
    .updateTable('organizations')
    .set((row) => ({ name: row.ref('name') }))
    .where('id', '=', organizationId)
    .execute();
  const members = await transaction
    .selectFrom('members')
    .select(['user_id', 'role'])
    .where('organization_id', '=', organizationId)
    .execute();
  return new Map(members.map(({ user_id, role }) => [user_id, role]));
}

/**
 * Who is owner is for owners to decide; while there is none, for admins. Throws ApiError `forbidden`, and `last_owner` if
 * none would be left. `from` and `to` are what a member is before and after; undefined is no member.
 */
export function checkOwnerChange(
  { role }: Principal,
  current: ReadonlyMap<string, Role>,
  from: Role | undefined,
  to: Role | undefined,
): void {
  if (from !== 'owner' && to !== 'owner') return;
  const owners = [...current.values()].filter((other) => other === 'owner').length;
  if (owners > 0 && role !== 'owner') {
    throw new ApiError('forbidden', { message: 'Only an owner of the organization decides who is owner.' });
  }
  if (from === 'owner' && to !== 'owner' && owners === 1) throw new ApiError('last_owner');
}
