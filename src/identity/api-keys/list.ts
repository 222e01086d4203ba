import type { Store } from '../../platform/store/store.ts';
import type { Principal } from '../principal.ts';

/** An API key as its organization sees it: the value is kept by nobody but its holder. */
export interface ApiKey {
  id: string;
  name: string;
  /** Epoch milliseconds. */
  createdAt: number;
  /** To the minute; null until its first use. */
  lastUsedAt: number | null;
  /** The member whose key it is; null for one of the organization itself. */
  userId: string | null;
}

/** The organization's keys, oldest first: for an admin all, for a member its own. */
export async function listApiKeys(
  store: Store,
  { organizationId, role, userId }: Principal,
): Promise<ApiKey[]> {
  const rows = await store.db
    .selectFrom('api_keys')
    .select(['id', 'name', 'created_at', 'last_used_at', 'user_id'])
    .where('organization_id', '=', organizationId)
    .$if(role === 'member', (query) => query.where('user_id', '=', userId))
    .orderBy('created_at')
    .orderBy('id')
    .execute();
  return rows.map(({ id, name, created_at, last_used_at, user_id }) => ({
    id,
    name,
    createdAt: created_at,
    lastUsedAt: last_used_at,
    userId: user_id,
  }));
}
