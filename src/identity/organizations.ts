import type { Store } from '../platform/store/store.ts';
import type { Principal } from './principal.ts';

/** What a caller is in its organization. An API key administers it; a service token does what its policies permit. */
type Role = 'admin' | 'member';

export interface Organization {
  id: string;
  name: string;
  role: Role;
}

/** The caller's organizations, of which a key or token has one. */
export async function listOrganizations(
  store: Store,
  { organizationId, kind }: Principal,
): Promise<Organization[]> {
  const rows = await store.db
    .selectFrom('organizations')
    .select(['id', 'name'])
    .where('id', '=', organizationId)
    .execute();
  return rows.map((row) => ({ ...row, role: kind === 'api_key' ? 'admin' : 'member' }));
}
