import type { Store } from '../../platform/store/store.ts';

/** An API key as its organization sees it: the value is kept by nobody but its holder. */
export interface ApiKey {
  id: string;
  name: string;
  /** Epoch milliseconds. */
  createdAt: number;
  /** To the minute; null until its first use. */
  lastUsedAt: number | null;
}

/** The organization's keys, oldest first. */
export async function listApiKeys(store: Store, organizationId: string): Promise<ApiKey[]> {
  const rows = await store.db
    .selectFrom('api_keys')
    .select(['id', 'name', 'created_at', 'last_used_at'])
    .where('organization_id', '=', organizationId)
    .orderBy('created_at')
    .orderBy('id')
    .execute();
  return rows.map(({ id, name, created_at, last_used_at }) => ({
    id,
    name,
    createdAt: created_at,
    lastUsedAt: last_used_at,
  }));
}
