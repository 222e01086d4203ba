import type { Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('connections').addColumn('instructions', 'text').execute();
  await db.schema.alterTable('pins').addColumn('instructions', 'text').execute();
}
