import type { Clock } from '../platform/clock.ts';
import { rowId } from '../platform/ids.ts';
import type { Secret } from '../platform/secret.ts';
import { isDuplicate, type Store } from '../platform/store/store.ts';
import { createApiKey, ensureApiKey } from './api-keys/create.ts';

const firstOrganization = 'first_organization';

/**
 * On an empty store makes an organization, the namespace `default` and, unless `fixedKey` names one, an API key.
 * Returns that key, once: later starts return undefined. A `fixedKey` is made valid at each start (design §8).
 */
export async function ensureFirstOrganization(
  store: Store,
  clock: Clock,
  fixedKey: Secret<string> | undefined,
): Promise<Secret<string> | undefined> {
  const organizationId = (await findFirstOrganization(store)) ?? (await makeFirst(store, clock));
  if (fixedKey) {
    await ensureApiKey(store, clock, organizationId, 'PATCHBAY_API_KEY', fixedKey);
    return undefined;
  }
  // Asked of the keys, not of the organization: a first start that died in between still ends with a key.
  const anyKey = await store.db
    .selectFrom('api_keys')
    .select('id')
    .where('organization_id', '=', organizationId)
    .limit(1)
    .executeTakeFirst();
  return anyKey ? undefined : (await createApiKey(store, clock, organizationId, 'first key')).key;
}

/** The id of the organization that the first start made, for commands of the operator. */
export async function findFirstOrganization(store: Store): Promise<string | undefined> {
  const row = await store.db
    .selectFrom('facts')
    .select('value')
    .where('name', '=', firstOrganization)
    .executeTakeFirst();
  return row?.value;
}

async function makeFirst(store: Store, clock: Clock): Promise<string> {
  const organizationId = rowId('org');
  const created_at = clock.now();
  try {
    await store.write(async (transaction, stale) => {
      // The primary key of this row decides which of several processes makes the first organization.
      await transaction
        .insertInto('facts')
        .values({ name: firstOrganization, value: organizationId })
        .execute();
      await transaction
        .insertInto('organizations')
        .values({ id: organizationId, name: 'default', created_at })
        .execute();
      await transaction
        .insertInto('namespaces')
        .values({ name: 'default', organization_id: organizationId, created_at })
        .execute();
      stale('namespace:default');
    });
    return organizationId;
  } catch (error) {
    const other = isDuplicate(error) ? await findFirstOrganization(store) : undefined;
    if (!other) throw error;
    return other;
  }
}
