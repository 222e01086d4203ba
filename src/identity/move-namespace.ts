import { ApiError } from '../platform/errors.ts';
import type { Store } from '../platform/store/store.ts';
import type { Namespace } from './namespaces.ts';
import { notAdmin } from './permits.ts';
import type { Principal } from './principal.ts';

/**
 * Gives a namespace of the caller's organization, with all that is in it, to another one that the caller administers
 * too. Keys and tokens of the organization before reach it no more, at once and in every process. Throws ApiError
 * `forbidden`, `namespace_not_found`.
 */
export async function moveNamespace(
  store: Store,
  { organizationId, role, userId }: Principal,
  name: string,
  target: string,
): Promise<Namespace> {
  if (role === 'member' || userId === null) throw notAdmin();
  return store.write(async (transaction, stale) => {
    const there = await transaction
      .selectFrom('members')
      .select('role')
      .where('organization_id', '=', target)
      .where('user_id', '=', userId)
      .executeTakeFirst();
    if (!there || there.role === 'member') throw notAdmin();
    const moved = await transaction
      .updateTable('namespaces')
      .set({ organization_id: target })
      .where('name', '=', name)
      .where('organization_id', '=', organizationId)
      .returning('created_at')
      .executeTakeFirst();
    if (!moved) throw new ApiError('namespace_not_found');
    stale(`namespace:${name}`);
    return { name, createdAt: moved.created_at };
  });
}
