import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { Kysely, type SqliteDatabase, SqliteDialect, type SqliteStatement } from 'kysely';
import { createBoundedCache } from '../bounded-cache.ts';
import type { Tables } from './schema.ts';

/** Opens the SQLite file at `path`. */
export function openSqlite(path: string): Kysely<Tables> {
  return new Kysely<Tables>({ dialect: sqliteDialect(path, 5_000) });
}

/**
 * The SQLite file at `path`, durable against power loss: WAL with `synchronous=FULL`. `node:sqlite` is synchronous, so
 * a statement costs no thread hop; the cache keeps statements prepared. One that meets a lock blocks the thread for up to
 * `lockWaitMs`.
 */
export function sqliteDialect(path: string, lockWaitMs: number): SqliteDialect {
  const database = new DatabaseSync(path, { timeout: lockWaitMs, enableForeignKeyConstraints: true });
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
  return new SqliteDialect({ database: asKyselyDatabase(database) });
}

/** The subset of better-sqlite3's interface that Kysely's own dialect asks for, over `node:sqlite`. */
function asKyselyDatabase(database: DatabaseSync): SqliteDatabase {
  const statements = createBoundedCache<SqliteStatement>(500);
  return {
    prepare(sql) {
      let statement = statements.get(sql);
      if (!statement) {
        statement = asKyselyStatement(database.prepare(sql));
        statements.set(sql, statement);
      }
      return statement;
    },
    close() {
      statements.clear();
      database.close();
    },
  };
}

function asKyselyStatement(statement: StatementSync): SqliteStatement {
  const values = (parameters: readonly unknown[]) => parameters as SQLInputValue[];
  return {
    reader: statement.columns().length > 0,
    all: (parameters) => statement.all(...values(parameters)),
    run: (parameters) => statement.run(...values(parameters)),
    iterate: (parameters) => statement.iterate(...values(parameters)),
  };
}

/** Another process holds the data directory. */
export class DataDirectoryInUse extends Error {
  constructor(directory: string) {
    super(
      `Another Patchbay process uses the data directory ${directory}. Stop it first, or set PATCHBAY_DATA_DIR.`,
    );
    this.name = 'DataDirectoryInUse';
  }
}

/**
 * Takes the data directory for this process: an exclusive transaction on a file of its own, which the
 * operating system ends with the process, however that dies. The database itself stays readable for backups.
 * Returns the function that gives it back. Throws DataDirectoryInUse.
 */
export function lockDataDirectory(directory: string, lockFile: string): () => void {
  const lock = new DatabaseSync(lockFile, { timeout: 0 });
  try {
    lock.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE');
  } catch (error) {
    lock.close();
    if (/locked|busy/i.test((error as Error).message)) throw new DataDirectoryInUse(directory);
    throw error;
  }
  return () => lock.close();
}
