import { readCursor, writeCursor } from '../platform/store/pages.ts';
import type { AuditRow } from '../platform/store/schema.ts';
import type { Store } from '../platform/store/store.ts';

/** Which entries are wanted; what is left out does not matter. */
export interface AuditFilter {
  namespace?: string | undefined;
  connectionId?: string | undefined;
  keyId?: string | undefined;
  tokenId?: string | undefined;
  userId?: string | undefined;
  method?: string | undefined;
  tool?: string | undefined;
  outcome?: string | undefined;
  /** Epoch milliseconds: from this one on, and before that one. */
  since?: number | undefined;
  until?: number | undefined;
}

export interface AuditPage {
  rows: AuditRow[];
  nextCursor: string | null;
}

const columnOf = {
  namespace: 'namespace',
  connectionId: 'connection_id',
  keyId: 'key_id',
  tokenId: 'token_id',
  userId: 'user_id',
  method: 'method',
  tool: 'tool',
  outcome: 'outcome',
} as const satisfies Record<Exclude<keyof AuditFilter, 'since' | 'until'>, keyof AuditRow>;

/**
 * A page of an organization's audit, newest first. The cursor holds the last row's position, so pages stay whole while
 * rows are added. Throws ApiError `validation_error` for a cursor that no page gave.
 */
export async function readAudit(
  store: Store,
  organizationId: string,
  filter: AuditFilter,
  limit: number,
  cursor: string | undefined,
): Promise<AuditPage> {
  const before = cursor === undefined ? undefined : readCursor(cursor);
  let select = store.db.selectFrom('audit').selectAll().where('organization_id', '=', organizationId);
  for (const [field, column] of Object.entries(columnOf)) {
    const value = filter[field as keyof typeof columnOf];
    if (value !== undefined) select = select.where(column, '=', value);
  }
  if (filter.since !== undefined) select = select.where('time', '>=', filter.since);
  if (filter.until !== undefined) select = select.where('time', '<', filter.until);
  if (before) {
    // The first condition is implied; it tells the databases where in the index to begin.
    select = select
      .where('time', '<=', before.time)
      .where(({ or, and, eb }) =>
        or([eb('time', '<', before.time), and([eb('time', '=', before.time), eb('id', '<', before.id)])]),
      );
  }
  const found = await select
    .orderBy('time', 'desc')
    .orderBy('id', 'desc')
    .limit(limit + 1)
    .execute();
  const rows = found.slice(0, limit);
  const last = rows.at(-1);
  return { rows, nextCursor: found.length > limit && last ? writeCursor(last) : null };
}
