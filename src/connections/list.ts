import type { ExpressionBuilder } from 'kysely';
import type { MetadataScope } from '../identity/permits.ts';
import { allPages, readCursor, writeCursor } from '../platform/store/pages.ts';
import type { Tables } from '../platform/store/schema.ts';
import { isStorableText } from '../platform/store/storable-text.ts';
import type { Store } from '../platform/store/store.ts';
import { type Connection, fromRow } from './connection.ts';
import { metadataCondition } from './metadata-index.ts';
import { canonicalUrl } from './request.ts';

export interface ListQuery {
  limit: number;
  cursor?: string | undefined;
  name?: string | undefined;
  mcpUrl?: string | undefined;
  metadata: [key: string, value: string][];
  /** What the caller may see of the namespace. */
  scope: MetadataScope;
}

export interface ConnectionPage {
  connections: Connection[];
  nextCursor: string | null;
}

/**
 * A page of a namespace's connections, oldest first. The cursor holds the last row's position, so pages stay
 * whole while rows come and go. Throws ApiError `validation_error` for a cursor that no page gave.
 */
export async function listConnections(
  store: Store,
  namespace: string,
  query: ListQuery,
): Promise<ConnectionPage> {
  const mcpUrl = query.mcpUrl === undefined ? undefined : canonicalUrl(query.mcpUrl);
  const cannotMatch =
    (query.mcpUrl !== undefined && mcpUrl === undefined) ||
    (query.name !== undefined && !isStorableText(query.name));
  const after = query.cursor === undefined ? undefined : readCursor(query.cursor);
  if (cannotMatch) return { connections: [], nextCursor: null };

  let select = store.db.selectFrom('connections').selectAll().where('namespace', '=', namespace);
  if (query.name !== undefined) select = select.where('name', '=', query.name);
  if (mcpUrl !== undefined) select = select.where('mcp_url', '=', mcpUrl);
  const hasEntry = (eb: ExpressionBuilder<Tables, 'connections'>, key: string, value: string) => {
    const { keyHash, valueHash } = metadataCondition(key, value);
    return eb('uid', 'in', (inner) =>
      inner
        .selectFrom('connection_metadata')
        .select('connection_uid')
        .where('namespace', '=', namespace)
        .where('key_hash', '=', keyHash)
        .where('value_hash', '=', valueHash),
    );
  };
  for (const [key, value] of query.metadata) select = select.where((eb) => hasEntry(eb, key, value));
  for (const alternatives of query.scope) {
    select = select.where((eb) =>
      eb.or(
        alternatives.map((pairs) =>
          eb.and(Object.entries(pairs).map(([key, value]) => hasEntry(eb, key, value))),
        ),
      ),
    );
  }
  if (after) {
    select = select.where((where) =>
      where.or([
        where('created_at', '>', after.time),
        where.and([where('created_at', '=', after.time), where('uid', '>', after.id)]),
      ]),
    );
  }
  const rows = await select
    .orderBy('created_at')
    .orderBy('uid')
    .limit(query.limit + 1)
    .execute();
  const connections = rows.slice(0, query.limit).map(fromRow);
  const last = connections.at(-1);
  const position = last && { time: last.createdAt, id: last.uid };
  return { connections, nextCursor: rows.length > query.limit && position ? writeCursor(position) : null };
}

/** Every connection of a namespace that is in `scope`, page by page. */
export async function* allConnections(
  store: Store,
  namespace: string,
  scope: MetadataScope,
  pageSize: number,
): AsyncGenerator<Connection> {
  const read = (cursor: string | undefined) =>
    listConnections(store, namespace, { limit: pageSize, cursor, metadata: [], scope });
  for await (const { connections } of allPages(read)) yield* connections;
}
