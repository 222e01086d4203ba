import type { Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('connections').dropColumn('updated_at').execute();
  await db.schema.alterTable('connections').addColumn('inputs', 'text').execute();
  await db.schema.alterTable('connections').addColumn('login', 'text').execute();
  await db.schema
    .alterTable('connections')
    .addColumn('setup_epoch', 'integer', (column) => column.notNull().defaultTo(0))
    .execute();
  await db.schema.alterTable('namespaces').addColumn('settings', 'text').execute();
  await db.schema
    .createTable('grants')
    .addColumn('connection_uid', 'text', (column) =>
      column.primaryKey().references('connections.uid').onDelete('cascade'),
    )
    .addColumn('namespace', 'text', (column) => column.notNull())
    .addColumn('version', 'bigint', (column) => column.notNull())
    .addColumn('details', 'text', (column) => column.notNull())
    .addColumn('sealed', 'text', (column) => column.notNull())
    .addColumn('expires_at', 'bigint')
    .addColumn('refresh_at', 'bigint')
    .addColumn('refresh_attempt', 'integer', (column) => column.notNull().defaultTo(0))
    .addColumn('refresh_claim', 'bigint')
    .execute();
  await db.schema
    .createTable('logins')
    .addColumn('state_hash', 'text', (column) => column.primaryKey())
    .addColumn('connection_uid', 'text', (column) =>
      column.notNull().references('connections.uid').onDelete('cascade'),
    )
    .addColumn('namespace', 'text', (column) => column.notNull())
    .addColumn('setup_epoch', 'integer', (column) => column.notNull())
    .addColumn('browser_hash', 'text', (column) => column.notNull())
    .addColumn('sealed', 'text', (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema.createIndex('logins_by_expiry').on('logins').column('expires_at').execute();
  await db.schema
    .createTable('oauth_clients')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('namespace', 'text', (column) =>
      column.notNull().references('namespaces.name').onDelete('cascade'),
    )
    .addColumn('applies_to', 'text', (column) => column.notNull())
    .addColumn('details', 'text', (column) => column.notNull())
    .addColumn('sealed', 'text')
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addUniqueConstraint('oauth_clients_applies_to', ['namespace', 'applies_to'])
    .execute();
  await db.schema
    .createTable('oauth_registrations')
    .addColumn('namespace', 'text', (column) =>
      column.notNull().references('namespaces.name').onDelete('cascade'),
    )
    .addColumn('issuer', 'text', (column) => column.notNull())
    .addColumn('redirect_uri', 'text', (column) => column.notNull())
    .addColumn('sealed', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('oauth_registrations_primary', ['namespace', 'issuer', 'redirect_uri'])
    .execute();
  await db.schema
    .createTable('webhooks')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('namespace', 'text', (column) =>
      column.notNull().references('namespaces.name').onDelete('cascade'),
    )
    .addColumn('url', 'text', (column) => column.notNull())
    .addColumn('events', 'text', (column) => column.notNull())
    .addColumn('sealed_secret', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema
    .createIndex('webhooks_in_order')
    .on('webhooks')
    .columns(['namespace', 'created_at'])
    .execute();
  await db.schema
    .createTable('webhook_deliveries')
    .addColumn('id', 'text', (column) => column.notNull())
    .addColumn('webhook_id', 'text', (column) =>
      column.notNull().references('webhooks.id').onDelete('cascade'),
    )
    .addColumn('body', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('attempt', 'integer', (column) => column.notNull().defaultTo(0))
    .addColumn('due_at', 'bigint', (column) => column.notNull())
    .addColumn('claim', 'bigint')
    .addPrimaryKeyConstraint('webhook_deliveries_primary', ['webhook_id', 'id'])
    .execute();
  await db.schema.createIndex('webhook_deliveries_due').on('webhook_deliveries').column('due_at').execute();
}
