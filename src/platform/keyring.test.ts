import { hkdfSync, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/fixtures/database.ts';
import { makeNamespaces } from '../../test/fixtures/sealed-rows.ts';
import { systemClock } from './clock.ts';
import { type Keyring, openKeyring } from './keyring.ts';
import { defaultLimits } from './limits.ts';
import { MasterKeyError, openMasterKey } from './master-key.ts';
import { rotateKeys } from './rotate-keys.ts';
import { Secret } from './secret.ts';
import { openStore, type Store } from './store/store.ts';
import { UnsealError } from './vault.ts';

let dataDir: string;
let database: TestDatabase;
let store: Store;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'patchbay-keyring-'));
  database = await createTestDatabase(dataDir);
  store = await openStore({ dataDir, databaseUrl: database.url ? new Secret(database.url) : undefined });
  await makeNamespaces(store, ['one', 'two']);
});
afterEach(async () => {
  await store.close();
  await database.drop();
  await rm(dataDir, { recursive: true, force: true });
});

const open = (given?: Secret<Buffer>): Promise<Keyring> => openKeyring(store, systemClock, dataDir, given);
const text = Buffer.from('a secret');
const identity = ['connections', 'con_1', 'headers'];

describe('the keyring', () => {
  test('opens what it sealed, also after a restart', async () => {
    const sealed = await (await open()).seal('one', identity, text);
    expect(await (await open()).unseal('one', identity, sealed)).toEqual(text);
  });

  test('does not open it for another row or another namespace', async () => {
    const keyring = await open();
    const sealed = await keyring.seal('one', identity, text);
    await keyring.seal('two', identity, text);
    await expect(keyring.unseal('one', ['connections', 'con_2', 'headers'], sealed)).rejects.toThrow(
      UnsealError,
    );
    await expect(keyring.unseal('two', identity, sealed)).rejects.toThrow(UnsealError);
  });

  test('keeps the key in a private file, made at first start', async () => {
    await open();
    expect((await stat(join(dataDir, 'master.key'))).mode & 0o777).toBe(0o600);
    expect((await readdir(dataDir)).filter((file) => file.startsWith('master.key'))).toEqual(['master.key']);
  });

  test('makes one key, however many first starts and first values come at once', async () => {
    const keyrings = await Promise.all([open(), open(), open()]);
    const sealed = await Promise.all(keyrings.map((keyring) => keyring.seal('one', identity, text)));
    for (const keyring of keyrings) {
      for (const value of sealed) expect(await keyring.unseal('one', identity, value)).toEqual(text);
    }
  });

  test('refuses a missing, another and a damaged master key', async () => {
    await open();
    const other = new Secret(randomBytes(32));
    await expect(open(other)).rejects.toThrow(/not the one that this database was sealed with/);
    await writeFile(join(dataDir, 'master.key'), 'no key');
    await expect(open()).rejects.toThrow(/does not hold 32 bytes/);
    await rm(join(dataDir, 'master.key'));
    await expect(open()).rejects.toThrow(MasterKeyError);
  });
});

describe('a derived key', () => {
  test('is that of RFC 5869 for its purpose, the same at every start', async () => {
    const master = randomBytes(32);
    const keyring = await open(new Secret(master));
    const key = keyring.derive('setup tickets');
    expect(key.reveal()).toEqual(Buffer.from(hkdfSync('sha256', master, '', 'setup tickets', 32)));
    expect(keyring.derive('setup tickets')).toBe(key);
    expect((await open(new Secret(master))).derive('setup tickets').reveal()).toEqual(key.reveal());
    expect(keyring.derive('sessions').reveal()).not.toEqual(key.reveal());
  });
});

describe('a process with the old master key, after a rotation by another', () => {
  const newer = { name: 'MasterKeyError', message: expect.stringMatching(/newer master key .* Restart/) };

  async function rotateBeside(): Promise<{ old: Keyring; sealed: string }> {
    const old = await open();
    const sealed = await old.seal('one', identity, text);
    const master = await openMasterKey(store, dataDir, undefined);
    await rotateKeys({ store, clock: systemClock, limits: defaultLimits }, master, undefined, () => {});
    return { old, sealed };
  }

  test('opens and seals nothing, and says why', async () => {
    const { old, sealed } = await rotateBeside();
    await expect(old.seal('one', identity, text)).rejects.toMatchObject(newer);
    const current = await (await open()).seal('one', identity, text);
    await expect(old.unseal('one', identity, current)).rejects.toMatchObject(newer);
    await expect(old.unseal('one', identity, sealed)).rejects.toThrow();
  });

  test('adds no data key that nobody could open', async () => {
    const { old } = await rotateBeside();
    await expect(old.seal('two', identity, text)).rejects.toMatchObject(newer);
    const rows = await store.db.selectFrom('data_keys').select('namespace').distinct().execute();
    expect(rows).toEqual([{ namespace: 'one' }]);
    const sealed = await (await open()).seal('two', identity, text);
    expect(await (await open()).unseal('two', identity, sealed)).toEqual(text);
  });
});
