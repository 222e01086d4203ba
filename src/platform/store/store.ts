import { join } from 'node:path';
import type { Kysely, Transaction } from 'kysely';
import { Migrator } from 'kysely/migration';
import type { Secret } from '../secret.ts';
import {
  createLocalInvalidation,
  createPostgresInvalidation,
  type Invalidation,
  type StaleKey,
} from './invalidation.ts';
import { migrations } from './migrations/index.ts';
import type { Tables } from './schema.ts';
import { lockDataDirectory, openSqlite } from './sqlite.ts';

export interface Store {
  readonly kind: 'sqlite' | 'postgres';
  readonly db: Kysely<Tables>;
  /**
   * Runs `work` in one transaction. Keys given to `stale` reach every process's caches once it commits;
   * the promise resolves when the commit is durable.
   */
  write<T>(work: (transaction: Transaction<Tables>, stale: (key: string) => void) => Promise<T>): Promise<T>;
  /** Calls `listener` for each key that went stale here or in another process; `null` means all. */
  onStale(listener: (key: StaleKey) => void): void;
  close(): Promise<void>;
}

export interface StoreLocation {
  dataDir: string;
  databaseUrl: Secret<string> | undefined;
}

/**
 * Opens the store and brings its tables up to date: SQLite in the data directory, taken for this process,
 * or PostgreSQL. Throws DataDirectoryInUse, or the driver's error.
 */
export async function openStore({ dataDir, databaseUrl }: StoreLocation): Promise<Store> {
  if (databaseUrl) {
    // Loaded where it is used: the embedded store should not pay for the other's driver.
    const { openPostgres } = await import('./postgres.ts');
    const { db, sql } = openPostgres(databaseUrl);
    try {
      await migrate(db);
      return createStore('postgres', db, await createPostgresInvalidation(sql), () =>
        sql.end({ timeout: 2 }),
      );
    } catch (error) {
      await sql.end({ timeout: 1 });
      throw error;
    }
  }
  const unlock = lockDataDirectory(dataDir, join(dataDir, 'patchbay.lock'));
  try {
    const db = openSqlite(join(dataDir, 'patchbay.sqlite'));
    await migrate(db);
    return createStore('sqlite', db, createLocalInvalidation(), async () => {
      await db.destroy();
      unlock();
    });
  } catch (error) {
    unlock();
    throw error;
  }
}

function createStore(
  kind: Store['kind'],
  db: Kysely<Tables>,
  invalidation: Invalidation,
  end: () => Promise<void>,
): Store {
  return {
    kind,
    db,
    async write(work) {
      const keys: string[] = [];
      const result = await db.transaction().execute(async (transaction) => {
        const outcome = await work(transaction, (key) => keys.push(key));
        await invalidation.inTransaction(transaction, keys);
        return outcome;
      });
      invalidation.afterCommit(keys);
      return result;
    },
    onStale: (listener) => invalidation.listen(listener),
    async close() {
      await invalidation.close();
      await end();
    },
  };
}

/** Kysely's migrator takes its lock on both databases, so several processes may start at once. */
async function migrate(db: Kysely<Tables>): Promise<void> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } });
  const { error } = await migrator.migrateToLatest();
  if (error) throw new Error('The database could not be brought up to date.', { cause: error });
}

/** Whether `error` is a reference to a row that is gone: 23503 in PostgreSQL, 787 in SQLite. */
export function isMissingReference(error: unknown): boolean {
  const { code, errcode } = (error ?? {}) as { code?: unknown; errcode?: unknown };
  return code === '23503' || errcode === 787;
}

/** Whether `error` is a violated unique or primary key: 23505 in PostgreSQL, 2067 and 1555 in SQLite. */
export function isDuplicate(error: unknown): boolean {
  const { code, errcode } = (error ?? {}) as { code?: unknown; errcode?: unknown };
  return code === '23505' || errcode === 2067 || errcode === 1555;
}
