import type { Kysely } from 'kysely';

/** No references: the audit outlives what it tells of. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('audit')
    .addColumn('id', 'text', (column) => column.notNull())
    .addColumn('time', 'bigint', (column) => column.notNull())
    .addColumn('organization_id', 'text', (column) => column.notNull())
    .addColumn('namespace', 'text')
    .addColumn('connection_uid', 'text')
    .addColumn('connection_id', 'text')
    .addColumn('principal_kind', 'text', (column) => column.notNull())
    .addColumn('key_id', 'text')
    .addColumn('token_id', 'text')
    .addColumn('method', 'text', (column) => column.notNull())
    .addColumn('tool', 'text')
    .addColumn('outcome', 'text', (column) => column.notNull())
    .addColumn('code', 'text')
    .addColumn('status', 'integer')
    .addColumn('duration_ms', 'bigint', (column) => column.notNull())
    .addColumn('bytes_in', 'bigint', (column) => column.notNull())
    .addColumn('bytes_out', 'bigint', (column) => column.notNull())
    .addColumn('trace_id', 'text')
    // The order of reading, so that this index is no extra one: rows come by the thousand.
    .addPrimaryKeyConstraint('audit_primary', ['organization_id', 'time', 'id'])
    .execute();
  await db.schema.createIndex('audit_by_namespace').on('audit').columns(['namespace', 'time']).execute();
}
