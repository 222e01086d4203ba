import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase, testsOnPostgres } from '../../test/fixtures/database.ts';
import {
  insertSealed,
  makeNamespaces,
  readSealed,
  type SealedRow,
  writeSealed,
} from '../../test/fixtures/sealed-rows.ts';
import { type Clock, systemClock } from './clock.ts';
import { unwrapDataKey } from './data-keys.ts';
import { type Keyring, openKeyring } from './keyring.ts';
import { defaultLimits } from './limits.ts';
import { type MasterKey, openMasterKey } from './master-key.ts';
import { type Rotation, type RotationStep, rotateKeys } from './rotate-keys.ts';
import { Secret } from './secret.ts';
import { sealedColumns } from './store/sealed-columns.ts';
import { openStore, type Store } from './store/store.ts';
import { type Key, keyVersionOf, UnsealError, unseal } from './vault.ts';

let dataDir: string;
let database: TestDatabase;
let store: Store;
let nowMs: number;
const clock: Clock = { ...systemClock, now: () => nowMs };
const limits = { ...defaultLimits, resealBatchRows: 3 };

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'patchbay-rotate-'));
  database = await createTestDatabase(dataDir);
  store = await openStore({ dataDir, databaseUrl: database.url ? new Secret(database.url) : undefined });
  nowMs = 1_800_000_000_000;
});
afterEach(async () => {
  await store.close();
  await database.drop();
  await rm(dataDir, { recursive: true, force: true });
});

const master = (given?: Key): Promise<MasterKey> => openMasterKey(store, dataDir, given);
const open = (given?: Key): Promise<Keyring> => openKeyring(store, clock, dataDir, given);

async function rotate(
  options: { current?: MasterKey; given?: Key; onStep?: (step: RotationStep) => void; on?: Store } = {},
): Promise<Rotation> {
  const current = options.current ?? (await master());
  return rotateKeys(
    { store: options.on ?? store, clock, limits },
    current,
    options.given,
    options.onStep ?? (() => {}),
  );
}

/** One value in each sealed column, in each of two namespaces. */
async function fill(): Promise<SealedRow[]> {
  await makeNamespaces(store, ['one', 'two']);
  const keyring = await open();
  const rows: SealedRow[] = [];
  for (const namespace of ['one', 'two']) {
    for (const column of sealedColumns) {
      rows.push(await insertSealed(store, keyring, column, namespace, Buffer.from(`plain ${rows.length}`)));
    }
  }
  return rows;
}

async function expectAllOpen(rows: readonly SealedRow[], keyring?: Keyring): Promise<void> {
  const opener = keyring ?? (await open());
  for (const row of rows) {
    const { namespace, column, key, plain } = row;
    const sealed = await readSealed(store, row);
    expect(await opener.unseal(namespace, column.identity(...key), sealed)).toEqual(plain);
  }
}

const versionsOf = async (rows: readonly SealedRow[]) =>
  new Set(await Promise.all(rows.map(async (row) => keyVersionOf(await readSealed(store, row)))));

async function dataKeys(namespace: string): Promise<number[]> {
  const keys = store.db.selectFrom('data_keys').select('version').where('namespace', '=', namespace);
  return (await keys.orderBy('version').execute()).map(({ version }) => version);
}

describe('rotating the keys', () => {
  test('seals the values of every column anew, and replaces the key file', async () => {
    const rows = await fill();
    const before = await readFile(join(dataDir, 'master.key'), 'utf8');
    expect(await rotate()).toEqual({ namespaces: 2, values: rows.length, unreadable: [] });
    expect(await versionsOf(rows)).toEqual(new Set([2]));
    await expectAllOpen(rows);
    expect(await readFile(join(dataDir, 'master.key'), 'utf8')).not.toBe(before);
    expect((await stat(join(dataDir, 'master.key'))).mode & 0o777).toBe(0o600);
    expect((await readdir(dataDir)).filter((file) => file.startsWith('master.key'))).toEqual(['master.key']);
  });

  test('leaves nothing that the old keys open, for any set of values, any number of times', async () => {
    const names = ['one', 'two', 'three'];
    const anyRows = fc.array(
      fc.record({
        column: fc.constantFrom(...sealedColumns),
        namespace: fc.constantFrom(...names),
        plain: fc.uint8Array({ maxLength: 64 }),
      }),
      { maxLength: 12 },
    );
    await fc.assert(
      fc.asyncProperty(anyRows, fc.integer({ min: 1, max: 3 }), async (wanted, times) => {
        await store.db.deleteFrom('namespaces').execute();
        await makeNamespaces(store, names);
        const keyring = await open();
        const rows: SealedRow[] = [];
        for (const { column, namespace, plain } of wanted) {
          rows.push(await insertSealed(store, keyring, column, namespace, Buffer.from(plain)));
        }
        const used = new Set(wanted.map(({ namespace }) => namespace)).size;
        for (let i = 0; i < times; i++) {
          nowMs += limits.replacedDataKeyMs;
          const old = await master();
          const oldKeys = await store.db.selectFrom('data_keys').selectAll().execute();
          expect(await rotate({ current: old })).toEqual({
            namespaces: used,
            values: rows.length,
            unreadable: [],
          });
          await expectAllOpen(rows);
          for (const { namespace, version, wrapped } of await store.db
            .selectFrom('data_keys')
            .selectAll()
            .execute()) {
            const identity = ['data_keys', namespace, String(version)];
            expect(() => unseal(old.key, identity, wrapped)).toThrow(UnsealError);
          }
          for (const row of rows) {
            const sealed = await readSealed(store, row);
            for (const { namespace, version, wrapped } of oldKeys) {
              const key = unwrapDataKey(old, namespace, version, wrapped);
              const identity = [row.namespace, ...row.column.identity(...row.key)];
              expect(() => unseal(key, identity, sealed)).toThrow(UnsealError);
            }
          }
          await expect(master(old.key)).rejects.toThrow(/keys were rotated since/);
        }
      }),
      { numRuns: 15 },
    );
  });

  test('keeps each value bound to its row', async () => {
    const rows = await fill();
    await rotate();
    const keyring = await open();
    const [one, other] = [rows[0] as SealedRow, rows[1] as SealedRow];
    const moved = await readSealed(store, other);
    await expect(keyring.unseal(one.namespace, one.column.identity(...one.key), moved)).rejects.toThrow(
      UnsealError,
    );
  });

  test('deletes the old data keys, where servers share the database only after a while', async () => {
    await fill();
    await rotate();
    expect(await dataKeys('one')).toEqual(testsOnPostgres ? [1, 2] : [2]);
    nowMs += limits.replacedDataKeyMs;
    await rotate();
    expect(await dataKeys('one')).toEqual(testsOnPostgres ? [2, 3] : [3]);
  });

  test('leaves a value that no key opens, and the data keys of its namespace', async () => {
    const rows = await fill();
    const damaged = rows[0] as SealedRow;
    const other = await readSealed(store, rows[1] as SealedRow);
    await writeSealed(store, damaged, other);
    const unreadable = [{ namespace: 'one', identity: damaged.column.identity(...damaged.key) }];
    nowMs += limits.replacedDataKeyMs;
    expect(await rotate()).toEqual({ namespaces: 2, values: rows.length - 1, unreadable });
    expect(await readSealed(store, damaged)).toBe(other);
    expect(await dataKeys('one')).toContain(1);
    await expectAllOpen(rows.slice(1));
  });

  test('never overwrites what another writer stored meanwhile', async () => {
    const rows = await fill();
    const raced = rows[0] as SealedRow;
    let writes = 0;
    const interfering: Store = {
      ...store,
      async write(work) {
        // The first write rewraps the keys; before the second, somebody else stores a value of theirs.
        if (++writes === 2) {
          const { namespace, column, key } = raced;
          raced.plain = Buffer.from('newer');
          const sealed = await (await open()).seal(namespace, column.identity(...key), raced.plain);
          await writeSealed(store, raced, sealed);
        }
        return store.write(work);
      },
    };
    expect(await rotate({ on: interfering })).toMatchObject({ values: rows.length - 1 });
    await expectAllOpen(rows);
  });

  test('seals again what another writer put back under the old key meanwhile', async () => {
    const rows = await fill();
    const [first] = rows as [SealedRow];
    const old = await readSealed(store, first);
    let putBack = false;
    const interfering: Store = {
      ...store,
      async write(work) {
        const done = await store.write(work);
        if (!putBack && keyVersionOf(await readSealed(store, first)) === 2) {
          putBack = true;
          await writeSealed(store, first, old);
        }
        return done;
      },
    };
    expect(await rotate({ on: interfering })).toMatchObject({ values: rows.length + 1 });
    expect(await versionsOf(rows)).toEqual(new Set([2]));
    await expectAllOpen(rows);
  });

  test('tells how many values are done, batch by batch', async () => {
    const rows = await fill();
    const told: number[] = [];
    await rotate({ onStep: (step) => step.name === 'resealed' && told.push(step.values) });
    expect(told).toEqual([...told].sort((a, b) => a - b));
    expect(told.at(-1)).toBe(rows.length);
    expect(told.length).toBeGreaterThanOrEqual(rows.length / limits.resealBatchRows);
  });
});

describe('a rotation that ends', () => {
  const steps: RotationStep['name'][] = ['made', 'rewrapped', 'replaced', 'resealed'];

  test.each(steps)('after "%s" leaves everything readable, and the next one finishes', async (last) => {
    const rows = await fill();
    const stop = (step: RotationStep) => {
      if (step.name === last) throw new Error('the power fails');
    };
    await expect(rotate({ onStep: stop })).rejects.toThrow('the power fails');
    await expectAllOpen(rows);
    const left = (await readdir(dataDir)).filter((file) => file.startsWith('master.key'));
    expect(left.sort()).toEqual(last === 'made' ? ['master.key', 'master.key.next'] : ['master.key']);

    const keyring = await open();
    rows.push(await insertSealed(store, keyring, rows[0]?.column as never, 'one', Buffer.from('between')));
    expect(await rotate()).toEqual({ namespaces: 2, values: rows.length, unreadable: [] });
    expect((await versionsOf(rows)).size).toBe(1);
    await expectAllOpen(rows);
    expect((await readdir(dataDir)).filter((file) => file.startsWith('master.key'))).toEqual(['master.key']);
  });

  test('because the database refuses changes nothing', async () => {
    const rows = await fill();
    const refusing: Store = { ...store, write: () => Promise.reject(new Error('the disk is full')) };
    const current = await master();
    await expect(rotate({ on: refusing })).rejects.toThrow('the disk is full');
    expect(await master()).toEqual(current);
    await expectAllOpen(rows);
  });

  test('before its file was renamed is finished by the start, and needs both files no more', async () => {
    const rows = await fill();
    const stop = (step: RotationStep) => {
      if (step.name === 'rewrapped') throw new Error('the power fails');
    };
    await expect(rotate({ onStep: stop })).rejects.toThrow();
    const next = await readFile(join(dataDir, 'master.key.next'), 'utf8');
    await expectAllOpen(rows);
    expect(await readFile(join(dataDir, 'master.key'), 'utf8')).toBe(next);
  });

  test('while a key file was made leaves a copy, which goes with the next one; other files stay', async () => {
    await fill();
    for (const name of ['master.key.draft-a1B2c3D4', 'master.key.next.draft-a1B2c3D4', 'master.key.backup']) {
      await writeFile(join(dataDir, name), 'x');
    }
    await rotate();
    const left = (await readdir(dataDir)).filter((file) => file.startsWith('master.key'));
    expect(left.sort()).toEqual(['master.key', 'master.key.backup']);
  });

  test('never gives up a key for a file that is not in force', async () => {
    const rows = await fill();
    const before = await readFile(join(dataDir, 'master.key'), 'utf8');
    await writeFile(join(dataDir, 'master.key.next'), `${randomBytes(32).toString('base64')}\n`);
    await expectAllOpen(rows);
    expect(await readFile(join(dataDir, 'master.key'), 'utf8')).toBe(before);
  });
});

describe('a master key that the operator keeps', () => {
  const newKey = () => new Secret(randomBytes(32));

  test('is replaced by the given one, and no file is made', async () => {
    const [old, given] = [newKey(), newKey()];
    const keyring = await open(old);
    await makeNamespaces(store, ['one']);
    const row = await insertSealed(store, keyring, sealedColumns[0] as never, 'one', Buffer.from('x'));
    await rotate({ current: await master(old), given });
    await expectAllOpen([row], await open(given));
    await expect(open(old)).rejects.toThrow(/keys were rotated since/);
    expect((await readdir(dataDir)).filter((file) => file.startsWith('master.key'))).toEqual([]);
  });

  test('is not replaced by itself, by none, or beside a key file', async () => {
    const old = newKey();
    const current = await master(old);
    await expect(rotate({ current, given: old })).rejects.toThrow(/is the key in use/);
    await expect(rotate({ current })).rejects.toThrow(/new PATCHBAY_MASTER_KEY is needed/);
    const inFile = { ...current, file: join(dataDir, 'master.key') };
    await expect(rotate({ current: inFile, given: newKey() })).rejects.toThrow(/unset/);
    expect((await master(old)).version).toBe(0);
  });

  test('is replaced once, by the faster of two commands', async () => {
    const old = newKey();
    const [one, two] = [newKey(), newKey()];
    const current = await master(old);
    const results = await Promise.allSettled([
      rotate({ current, given: one }),
      rotate({ current, given: two }),
    ]);
    const winners = [one, two].filter((_, i) => results[i]?.status === 'fulfilled');
    expect(winners).toHaveLength(1);
    expect((await master(winners[0])).version).toBe(1);
    expect(results.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: { name: 'MasterKeyError' },
    });
  });
});
