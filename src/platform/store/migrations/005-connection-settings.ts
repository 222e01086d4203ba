import type { Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const column of ['call_timeout_ms', 'idle_timeout_ms', 'max_call_ms']) {
    await db.schema.alterTable('connections').addColumn(column, 'integer').execute();
  }
}
