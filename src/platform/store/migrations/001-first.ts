import type { Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('facts')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('value', 'text', (column) => column.notNull())
    .execute();
  await db.schema
    .createTable('organizations')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema
    .createTable('api_keys')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('organization_id', 'text', (column) => column.notNull().references('organizations.id'))
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('hash', 'text', (column) => column.notNull().unique())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema
    .createTable('namespaces')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('organization_id', 'text', (column) => column.notNull().references('organizations.id'))
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema
    .createIndex('namespaces_by_organization')
    .on('namespaces')
    .columns(['organization_id', 'created_at'])
    .execute();
  await db.schema
    .createTable('data_keys')
    .addColumn('namespace', 'text', (column) =>
      column.notNull().references('namespaces.name').onDelete('cascade'),
    )
    .addColumn('version', 'integer', (column) => column.notNull())
    .addColumn('wrapped', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('data_keys_primary', ['namespace', 'version'])
    .execute();
  await db.schema
    .createTable('connections')
    .addColumn('uid', 'text', (column) => column.primaryKey())
    .addColumn('namespace', 'text', (column) =>
      column.notNull().references('namespaces.name').onDelete('cascade'),
    )
    .addColumn('id', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('transport', 'text', (column) => column.notNull())
    .addColumn('mcp_url', 'text')
    .addColumn('metadata', 'text')
    .addColumn('icon_url', 'text')
    .addColumn('server_info', 'text')
    .addColumn('sealed_headers', 'text')
    .addColumn('target_version', 'integer', (column) => column.notNull())
    .addColumn('status', 'text', (column) => column.notNull())
    .addColumn('status_at', 'bigint', (column) => column.notNull())
    .addColumn('protocol', 'text')
    .addColumn('probe_at', 'bigint')
    .addColumn('probe_claim', 'bigint')
    .addColumn('probe_attempt', 'integer', (column) => column.notNull().defaultTo(0))
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('updated_at', 'bigint', (column) => column.notNull())
    .addUniqueConstraint('connections_name', ['namespace', 'id'])
    .execute();
  await db.schema
    .createIndex('connections_in_order')
    .on('connections')
    .columns(['namespace', 'created_at', 'uid'])
    .execute();
  await db.schema.createIndex('connections_to_probe').on('connections').columns(['probe_at']).execute();
  await db.schema
    .createTable('connection_metadata')
    .addColumn('connection_uid', 'text', (column) =>
      column.notNull().references('connections.uid').onDelete('cascade'),
    )
    .addColumn('namespace', 'text', (column) => column.notNull())
    .addColumn('key_hash', 'text', (column) => column.notNull())
    .addColumn('value_hash', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('connection_metadata_primary', ['connection_uid', 'key_hash'])
    .execute();
  await db.schema
    .createIndex('connection_metadata_by_value')
    .on('connection_metadata')
    .columns(['namespace', 'key_hash', 'value_hash'])
    .execute();
}
