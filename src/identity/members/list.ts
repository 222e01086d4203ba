import type { Role } from '../../platform/store/schema.ts';
import type { Store } from '../../platform/store/store.ts';

export interface Member {
  userId: string;
  name: string;
  email: string | null;
  role: Role;
  /** Epoch milliseconds. */
  joinedAt: number;
}

/** The members of an organization, the longest one first. */
export async function listMembers(store: Store, organizationId: string): Promise<Member[]> {
  const rows = await store.db
    .selectFrom('members')
    .innerJoin('users', 'users.id', 'members.user_id')
    .select(['users.id', 'name', 'email', 'role', 'members.created_at'])
    .where('organization_id', '=', organizationId)
    .orderBy('members.created_at')
    .orderBy('users.id')
    .execute();
  return rows.map(({ id, created_at, ...rest }) => ({ userId: id, ...rest, joinedAt: created_at }));
}
