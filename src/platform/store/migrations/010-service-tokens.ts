import type { Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('signing_keys')
    .addColumn('kid', 'text', (column) => column.primaryKey())
    .addColumn('public_jwk', 'text', (column) => column.notNull())
    .addColumn('wrapped', 'text')
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('retired_at', 'bigint')
    .execute();
  // No reference to tokens: they are stored nowhere.
  await db.schema
    .createTable('revoked_tokens')
    .addColumn('organization_id', 'text', (column) => column.notNull().references('organizations.id'))
    .addColumn('token_id', 'text', (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('revoked_tokens_primary', ['organization_id', 'token_id'])
    .execute();
  await db.schema
    .createIndex('revoked_tokens_by_expiry')
    .on('revoked_tokens')
    .columns(['expires_at'])
    .execute();
}
