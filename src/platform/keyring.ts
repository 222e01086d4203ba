import { hkdfSync } from 'node:crypto';
import { link, open, readFile, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from './clock.ts';
import { randomText } from './ids.ts';
import { Secret } from './secret.ts';
import { isDuplicate, type Store } from './store/store.ts';
import { type Key, keyVersionOf, newKeyBytes, seal, unseal } from './vault.ts';

/** The server must not run: sealed data is there and its key is not. */
export class MasterKeyError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'MasterKeyError';
  }
}

/** Seals and opens values of a namespace under its own data key. */
export interface Keyring {
  /** Seals `plain` for the row named by `identity` (table, row, column). */
  seal(namespace: string, identity: readonly string[], plain: Buffer): Promise<string>;
  /** Opens it again. Throws UnsealError if it was sealed for another row or namespace. */
  unseal(namespace: string, identity: readonly string[], sealed: string): Promise<Buffer>;
  /** A 32-byte key of the whole installation, for `purpose` alone (HKDF-SHA256, RFC 5869); never stored. */
  derive(purpose: string): Secret<Buffer>;
}

const checkName = 'master_key_check';
const checkText = Buffer.from('patchbay');

/**
 * Finds the master key (the environment's, or `master.key` in the data directory, made at first start) and
 * proves that it is the one this database was sealed with. Throws MasterKeyError rather than run without it.
 */
export async function openKeyring(
  store: Store,
  clock: Clock,
  dataDir: string,
  given: Key | undefined,
): Promise<Keyring> {
  const check = await store.db
    .selectFrom('facts')
    .select('value')
    .where('name', '=', checkName)
    .executeTakeFirst();
  const file = join(dataDir, 'master.key');
  const master = given ?? (await readKeyFile(file)) ?? (await makeKeyFile(file, check !== undefined));
  await proveMasterKey(store, master, check?.value);
  return createKeyring(store, clock, master);
}

async function readKeyFile(file: string): Promise<Key | undefined> {
  try {
    const bytes = Buffer.from((await readFile(file, 'utf8')).trim(), 'base64');
    if (bytes.length !== 32) throw new MasterKeyError(`${file} does not hold 32 bytes in base64.`);
    return new Secret(bytes);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function makeKeyFile(file: string, sealedDataExists: boolean): Promise<Key> {
  if (sealedDataExists) {
    throw new MasterKeyError(
      `The database holds sealed secrets, but there is no key: set PATCHBAY_MASTER_KEY, or put ${file} back.`,
    );
  }
  // Written whole and durable under another name first: a crash never leaves half a key behind.
  const draft = `${file}.${randomText(8)}`;
  const handle = await open(draft, 'wx', 0o600);
  await handle.writeFile(`${newKeyBytes().toString('base64')}\n`);
  await handle.sync();
  await handle.close();
  try {
    await link(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await unlink(draft);
  }
  // The name is in the directory, not in the file: a power loss must not lose the key that rows already
  // acknowledged are sealed with. Also when another process linked first: its sync may be still to come.
  const directory = await open(dirname(file), 'r');
  await directory.sync();
  await directory.close();
  const made = await readKeyFile(file);
  if (!made) throw new MasterKeyError(`${file} went away while the server started.`);
  return made;
}

async function proveMasterKey(store: Store, master: Key, check: string | undefined): Promise<void> {
  if (check === undefined) {
    const value = seal(master, 0, [checkName], checkText);
    try {
      await store.write((tx) => tx.insertInto('facts').values({ name: checkName, value }).execute());
      return;
    } catch (error) {
      if (!isDuplicate(error)) throw error;
      const row = await store.db
        .selectFrom('facts')
        .select('value')
        .where('name', '=', checkName)
        .executeTakeFirstOrThrow();
      return proveMasterKey(store, master, row.value);
    }
  }
  try {
    unseal(master, [checkName], check);
  } catch {
    throw new MasterKeyError(
      'The master key is not the one that this database was sealed with. Set PATCHBAY_MASTER_KEY to that one.',
    );
  }
}

function createKeyring(store: Store, clock: Clock, master: Key): Keyring {
  const opened = new Map<string, Key>();
  const name = (namespace: string, version: number) => `${namespace}/${version}`;
  // A namespace of the same name may come again, with keys of its own.
  let changes = 0;
  store.onStale((key) => {
    changes++;
    if (key === null) opened.clear();
    else if (key.startsWith('namespace:')) {
      const prefix = `${key.slice('namespace:'.length)}/`;
      for (const entry of opened.keys()) if (entry.startsWith(prefix)) opened.delete(entry);
    }
  });
  const derived = new Map<string, Key>();
  const wrapIdentity = (namespace: string, version: number) => ['data_keys', namespace, String(version)];

  async function newestVersion(namespace: string): Promise<number> {
    const row = await store.db
      .selectFrom('data_keys')
      .select('version')
      .where('namespace', '=', namespace)
      .orderBy('version', 'desc')
      .limit(1)
      .executeTakeFirst();
    return row?.version ?? (await makeDataKey(namespace));
  }

  async function makeDataKey(namespace: string): Promise<number> {
    const version = 1;
    const wrapped = seal(master, 0, wrapIdentity(namespace, version), newKeyBytes());
    try {
      await store.write((tx) =>
        tx.insertInto('data_keys').values({ namespace, version, wrapped, created_at: clock.now() }).execute(),
      );
    } catch (error) {
      // Another request or process was first; its key is as good.
      if (!isDuplicate(error)) throw error;
    }
    return version;
  }

  async function dataKey(namespace: string, version: number): Promise<Key> {
    const known = opened.get(name(namespace, version));
    if (known) return known;
    const seen = changes;
    const row = await store.db
      .selectFrom('data_keys')
      .select('wrapped')
      .where('namespace', '=', namespace)
      .where('version', '=', version)
      .executeTakeFirstOrThrow();
    const key = new Secret(unseal(master, wrapIdentity(namespace, version), row.wrapped));
    if (seen === changes) opened.set(name(namespace, version), key);
    return key;
  }

  return {
    async seal(namespace, identity, plain) {
      const version = await newestVersion(namespace);
      return seal(await dataKey(namespace, version), version, [namespace, ...identity], plain);
    },
    async unseal(namespace, identity, sealed) {
      const key = await dataKey(namespace, keyVersionOf(sealed));
      return unseal(key, [namespace, ...identity], sealed);
    },
    derive(purpose) {
      const known = derived.get(purpose);
      if (known) return known;
      const key = new Secret(Buffer.from(hkdfSync('sha256', master.reveal(), '', purpose, 32)));
      derived.set(purpose, key);
      return key;
    },
  };
}
