import { ApiError } from '../platform/errors.ts';
import type { AuditRow } from '../platform/store/schema.ts';
import type { Store } from '../platform/store/store.ts';

/** Which entries are wanted; what is left out does not matter. */
export interface AuditFilter {
  namespace?: string | undefined;
  connectionId?: string | undefined;
  keyId?: string | undefined;
  tokenId?: string | undefined;
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
  cursor?: string,
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

/** All that `readAudit` finds, in pages of `pageSize`. */
export async function* allAudit(
  store: Store,
  organizationId: string,
  filter: AuditFilter,
  pageSize: number,
): AsyncGenerator<readonly AuditRow[]> {
  let cursor: string | undefined;
  do {
    const page = await readAudit(store, organizationId, filter, pageSize, cursor);
    yield page.rows;
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
}

function writeCursor({ time, id }: AuditRow): string {
  return Buffer.from(JSON.stringify([time, id])).toString('base64url');
}

function readCursor(cursor: string): { time: number; id: string } {
  try {
    const [time, id] = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')) as unknown[];
    if (Number.isSafeInteger(time) && typeof id === 'string' && /^aud_\w+$/.test(id)) {
      return { time: time as number, id };
    }
  } catch {
    // Answered below, like any other cursor that is none.
  }
  throw new ApiError('validation_error', { message: 'cursor: is not one that a page gave as nextCursor.' });
}
