import { type Kysely, sql, type Transaction } from 'kysely';
import type { Keyring } from './keyring.ts';
import type { Tables } from './store/schema.ts';
import { type SealedColumn, sealedColumns } from './store/sealed-columns.ts';
import { isMissingReference, type Store } from './store/store.ts';
import { keyVersionOf, UnsealError } from './vault.ts';

/** A sealed value in its row. */
interface SealedValue {
  namespace: string;
  /** The values of the column's `key`. */
  key: string[];
  sealed: string;
}

/** A value that no key opens; it stays as it is. */
export interface UnreadableValue {
  namespace: string;
  /** Table, row and column. */
  identity: readonly string[];
}

/**
 * Seals every value that is not under its namespace's newest data key anew, `batchRows` rows a transaction.
 * Others may write meanwhile: a value that they changed is theirs, and is looked at again. It ends when all
 * values were seen to be under the newest key, or to open with none. Returns how many it sealed, and those.
 */
export async function resealValues(
  store: Store,
  keyring: Keyring,
  batchRows: number,
  onBatch: (values: number) => void,
): Promise<{ values: number; unreadable: UnreadableValue[] }> {
  let values = 0;
  for (;;) {
    const newest = await newestVersions(store);
    const unreadable: UnreadableValue[] = [];
    let old = 0;
    for (const column of sealedColumns) {
      for await (const page of pages(store.db, column, batchRows)) {
        const changes: { value: SealedValue; resealed: string }[] = [];
        for (const value of page) {
          const identity = column.identity(...value.key);
          try {
            if (keyVersionOf(value.sealed) >= (newest.get(value.namespace) ?? 0)) continue;
            const plain = await keyring.unseal(value.namespace, identity, value.sealed);
            changes.push({ value, resealed: await keyring.seal(value.namespace, identity, plain) });
          } catch (error) {
            if (error instanceof UnsealError) unreadable.push({ namespace: value.namespace, identity });
            // The namespace was deleted, and its rows with it.
            else if (!isMissingReference(error)) throw error;
          }
        }
        if (changes.length === 0) continue;
        old += changes.length;
        values += await store.write(async (transaction) => {
          let stored = 0;
          for (const { value, resealed } of changes) {
            if (await swap(transaction, column, value, resealed)) stored++;
          }
          return stored;
        });
        onBatch(values);
      }
    }
    if (old === 0) return { values, unreadable };
  }
}

async function newestVersions(store: Store): Promise<Map<string, number>> {
  const rows = await store.db
    .selectFrom('data_keys')
    .select(({ fn }) => ['namespace', fn.max('version').as('version')])
    .groupBy('namespace')
    .execute();
  return new Map(rows.map(({ namespace, version }) => [namespace, version]));
}

/** All values of a column, in the order of their keys; the namespace completes a key that is unique in it only. */
async function* pages(
  db: Kysely<Tables>,
  { table, column, key }: SealedColumn,
  rows: number,
): AsyncGenerator<SealedValue[]> {
  const place = sql.join([...key, 'namespace'].map((name) => sql.ref(name)));
  let last = [...key.map(() => ''), ''];
  for (;;) {
    const found = await sql<Record<string, string>>`
      select ${place}, ${sql.ref(column)} as sealed from ${sql.table(table)}
      where ${sql.ref(column)} is not null and (${place}) > (${sql.join(last)})
      order by ${place} limit ${rows}`.execute(db);
    const page = found.rows.map((row) => ({
      namespace: row.namespace as string,
      key: key.map((name) => row[name] as string),
      sealed: row.sealed as string,
    }));
    const end = page.at(-1);
    if (!end) return;
    yield page;
    last = [...end.key, end.namespace];
  }
}

/** Whether the value was still the one that was read, and is `resealed` now. */
async function swap(
  transaction: Transaction<Tables>,
  { table, column, key }: SealedColumn,
  value: SealedValue,
  resealed: string,
): Promise<boolean> {
  const isRow = key.map((name, i) => sql`${sql.ref(name)} = ${value.key[i]}`);
  const { numAffectedRows } = await sql`
    update ${sql.table(table)} set ${sql.ref(column)} = ${resealed}
    where namespace = ${value.namespace} and ${sql.join(isRow, sql` and `)}
    and ${sql.ref(column)} = ${value.sealed}`.execute(transaction);
  return numAffectedRows === 1n;
}
