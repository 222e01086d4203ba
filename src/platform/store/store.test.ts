import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase, testsOnPostgres } from '../../../test/fixtures/database.ts';
import { until } from '../../../test/fixtures/until.ts';
import { Secret } from '../secret.ts';
import { DataDirectoryInUse } from './sqlite.ts';
import { isDuplicate, openStore, type Store } from './store.ts';

let dataDir: string;
let database: TestDatabase;
let opened: Store[];

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'patchbay-store-'));
  database = await createTestDatabase(dataDir);
  opened = [];
});
afterEach(async () => {
  for (const store of opened) await store.close();
  await database.drop();
  await rm(dataDir, { recursive: true, force: true });
});

async function open(): Promise<Store> {
  const store = await openStore({
    dataDir,
    databaseUrl: database.url ? new Secret(database.url) : undefined,
  });
  opened.push(store);
  return store;
}

const fact = (name: string, value = 'x') => ({ name, value });

describe('the store', () => {
  test('keeps what was written, across closing and opening again', async () => {
    const first = await open();
    await first.write((tx) => tx.insertInto('facts').values(fact('a', 'kept')).execute());
    await first.close();
    opened = [];
    const again = await open();
    expect(await again.db.selectFrom('facts').selectAll().execute()).toEqual([fact('a', 'kept')]);
  });

  test('writes all of a transaction or nothing, and tells nobody of what did not happen', async () => {
    const store = await open();
    const heard: (string | null)[] = [];
    store.onStale((key) => heard.push(key));
    heard.length = 0;
    const failing = store.write(async (tx, stale) => {
      stale('key:never');
      await tx.insertInto('facts').values(fact('a')).execute();
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(await store.db.selectFrom('facts').selectAll().execute()).toEqual([]);
    await store.write(async (_tx, stale) => stale('key:told'));
    expect(heard).toContain('key:told');
    expect(heard).not.toContain('key:never');
  });

  test('recognises a duplicate, and nothing else', async () => {
    const store = await open();
    const insert = () => store.write((tx) => tx.insertInto('facts').values(fact('a')).execute());
    await insert();
    const error = await insert().catch((thrown: unknown) => thrown);
    expect(isDuplicate(error)).toBe(true);
    const other = await store.db
      .insertInto('facts')
      .values({ name: 'b' } as never)
      .execute()
      .catch((thrown: unknown) => thrown);
    expect(other).toBeInstanceOf(Error);
    expect(isDuplicate(other)).toBe(false);
  });

  test('runs transactions that come at once one after the other', async () => {
    const store = await open();
    await store.write((tx) => tx.insertInto('facts').values(fact('count', '0')).execute());
    const increment = () =>
      store.write(async (tx) => {
        let read = tx.selectFrom('facts').select('value').where('name', '=', 'count');
        if (store.kind === 'postgres') read = read.forUpdate();
        const { value } = await read.executeTakeFirstOrThrow();
        await tx
          .updateTable('facts')
          .set({ value: String(Number(value) + 1) })
          .where('name', '=', 'count')
          .execute();
      });
    await Promise.all(Array.from({ length: 20 }, increment));
    expect(await store.db.selectFrom('facts').selectAll().execute()).toEqual([fact('count', '20')]);
  });

  test('gives epoch milliseconds back as numbers', async () => {
    const store = await open();
    const created_at = 1_795_372_579_912;
    await store.db.insertInto('organizations').values({ id: 'o', name: 'o', created_at }).execute();
    expect(await store.db.selectFrom('organizations').select('created_at').execute()).toEqual([
      { created_at },
    ]);
  });

  test.skipIf(testsOnPostgres)('SQLite is durable against power loss, and used by one process', async () => {
    const store = await open();
    const { sql } = await import('kysely');
    const [mode] = (await sql<{ journal_mode: string }>`pragma journal_mode`.execute(store.db)).rows;
    const [sync] = (await sql<{ synchronous: number }>`pragma synchronous`.execute(store.db)).rows;
    expect([mode?.journal_mode, sync?.synchronous]).toEqual(['wal', 2]);
    await expect(open()).rejects.toThrow(DataDirectoryInUse);
  });

  test.skipIf(!testsOnPostgres)(
    'PostgreSQL tells every process what went stale, and all of it after a break',
    async () => {
      const [one, two] = [await open(), await open()];
      const heard: (string | null)[] = [];
      two.onStale((key) => heard.push(key));
      await one.write(async (_tx, stale) => stale('connection:default/a'));
      await until(() => heard.includes('connection:default/a'));
      const { sql } = await import('kysely');
      await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where pid <> pg_backend_pid() and datname = current_database() and query like 'listen%'`.execute(
        one.db,
      );
      await until(() => heard.includes(null));
      await one.write(async (_tx, stale) => stale('connection:default/b'));
      await until(() => heard.includes('connection:default/b'));
    },
  );

  test.skipIf(!testsOnPostgres)('several processes may start on an empty database at once', async () => {
    const stores = await Promise.all([open(), open(), open()]);
    for (const store of stores) expect(await store.db.selectFrom('facts').selectAll().execute()).toEqual([]);
  });
});
