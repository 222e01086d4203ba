import type { Clock } from '../platform/clock.ts';
import { rowId } from '../platform/ids.ts';
import type { Secret } from '../platform/secret.ts';
import type { Role } from '../platform/store/schema.ts';
import type { Store } from '../platform/store/store.ts';
import { insertApiKey } from './api-keys/create.ts';
import type { Principal } from './principal.ts';

export interface Organization {
  id: string;
  name: string;
  /** What the caller is there. */
  role: Role;
}

/** The caller's organizations: all of a signed-in user; of a key or token the one that it acts for. */
export async function listOrganizations(
  store: Store,
  { kind, organizationId, userId, role }: Principal,
): Promise<Organization[]> {
  if (kind === 'session' && userId !== null) return organizationsOf(store, userId);
  const rows = await store.db
    .selectFrom('organizations')
    .select(['id', 'name'])
    .where('id', '=', organizationId)
    .execute();
  return rows.map((row) => ({ ...row, role }));
}

/** The organizations that a user is member of, the longest one first. */
export function organizationsOf(store: Store, userId: string): Promise<Organization[]> {
  return store.db
    .selectFrom('members')
    .innerJoin('organizations', 'organizations.id', 'members.organization_id')
    .select(['organizations.id', 'organizations.name', 'role'])
    .where('user_id', '=', userId)
    .orderBy('members.created_at')
    .orderBy('organizations.id')
    .execute();
}

/** Makes an organization without namespaces and members, and a key to administer it. */
export function createOrganization(
  store: Store,
  clock: Clock,
  name: string,
): Promise<{ id: string; key: Secret<string> }> {
  const id = rowId('org');
  return store.write(async (transaction, stale) => {
    await transaction.insertInto('organizations').values({ id, name, created_at: clock.now() }).execute();
    const owner = { organizationId: id, userId: null };
    const { key } = await insertApiKey(transaction, stale, clock, owner, 'first key');
    return { id, key };
  });
}

/** Whether there is such an organization. */
export async function hasOrganization(store: Store, id: string): Promise<boolean> {
  const row = await store.db.selectFrom('organizations').select('id').where('id', '=', id).executeTakeFirst();
  return row !== undefined;
}
