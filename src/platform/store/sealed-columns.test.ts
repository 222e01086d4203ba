import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TableMetadata } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/fixtures/database.ts';
import { Secret } from '../secret.ts';
import { sealedColumns, sealedFor } from './sealed-columns.ts';
import { openStore, type Store } from './store.ts';

let dataDir: string;
let database: TestDatabase;
let store: Store;
let tables: TableMetadata[];

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'patchbay-columns-'));
  database = await createTestDatabase(dataDir);
  store = await openStore({ dataDir, databaseUrl: database.url ? new Secret(database.url) : undefined });
  tables = await store.db.introspection.getTables();
});
afterAll(async () => {
  await store?.close();
  await database?.drop();
  await rm(dataDir, { recursive: true, force: true });
});

const columnsOf = (name: string) => tables.find((table) => table.name === name)?.columns ?? [];

describe('the list of sealed columns', () => {
  test('has every column of the database that is named as one', () => {
    const named = tables.flatMap(({ name, columns }) =>
      columns
        .filter((column) => /^sealed|_secret$/.test(column.name))
        .map((column) => `${name}.${column.name}`),
    );
    const listed = sealedColumns.map(({ table, column }) => `${table}.${column}`);
    expect(listed.sort()).toEqual(named.sort());
  });

  test('has every identity that a value may be sealed for', () => {
    expect(new Set(sealedColumns.map(({ identity }) => identity))).toEqual(new Set(Object.values(sealedFor)));
  });

  test.each(sealedColumns)(
    'names real columns of $table, and as many as its identity takes',
    ({ table, column, key, identity }) => {
      const real = columnsOf(table).map(({ name }) => name);
      expect(real).toEqual(expect.arrayContaining([column, ...key, 'namespace']));
      expect(identity).toHaveLength(key.length);
      const values = key.map((name) => `value of ${name}`);
      expect(identity(...values)).toEqual(expect.arrayContaining([table, ...values]));
    },
  );

  test('gives no two columns one identity', () => {
    const identities = sealedColumns.map(({ key, identity }) => identity(...key.map(() => 'x')).join());
    expect(new Set(identities).size).toBe(sealedColumns.length);
  });
});
