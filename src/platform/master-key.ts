import { link, open, readdir, readFile, rename, rm, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Transaction } from 'kysely';
import { randomText } from './ids.ts';
import { Secret } from './secret.ts';
import type { Tables } from './store/schema.ts';
import { isDuplicate, type Store } from './store/store.ts';
import { type Key, keyVersionOf, newKeyBytes, seal, unseal } from './vault.ts';

/** What is sealed cannot be opened or must not be added to: the master key is missing, or is another one. */
export class MasterKeyError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'MasterKeyError';
  }
}

export interface MasterKey {
  key: Key;
  /** Grows by one with each rotation; whatever this key seals names it. */
  version: number;
  /** A text sealed with it, kept in `facts`: what opens this is the master key of the database. */
  check: string;
  /** Where Patchbay keeps it; undefined where the operator does, in PATCHBAY_MASTER_KEY. */
  file: string | undefined;
}

const checkName = 'master_key_check';
const checkText = Buffer.from('patchbay');

/**
 * Finds the master key (the environment's, or `master.key` in the data directory, made at first start) and
 * proves that it is the one this database was sealed with. Throws MasterKeyError rather than go on without it.
 */
export async function openMasterKey(
  store: Store,
  dataDir: string,
  given: Key | undefined,
): Promise<MasterKey> {
  const row = await store.db
    .selectFrom('facts')
    .select('value')
    .where('name', '=', checkName)
    .executeTakeFirst();
  if (given) return prove(store, given, row?.value, undefined);
  const file = join(dataDir, 'master.key');
  if (row) {
    await finishRotation(file, row.value);
    const key = await readKeyFile(file);
    if (key) return prove(store, key, row.value, file);
    throw new MasterKeyError(
      `The database holds sealed secrets, but there is no key: set PATCHBAY_MASTER_KEY, or put ${file} back.`,
    );
  }
  return prove(store, await makeKeyFile(file), undefined, file);
}

/** The master key that follows `current`, kept in the same place. */
export function followMasterKey(current: MasterKey, key: Key): MasterKey {
  const version = current.version + 1;
  return { key, version, check: sealCheck(key, version), file: current.file };
}

/** Makes `next` the master key of the database. Throws MasterKeyError if it is no longer `current`. */
export async function replaceMasterKey(
  transaction: Transaction<Tables>,
  current: MasterKey,
  next: MasterKey,
): Promise<void> {
  const replaced = await transaction
    .updateTable('facts')
    .set({ value: next.check })
    .where('name', '=', checkName)
    .where('value', '=', current.check)
    .executeTakeFirst();
  if (replaced.numUpdatedRows === 0n) throw new MasterKeyError('Another command rotated the keys meanwhile.');
}

/**
 * Holds a rotation up until `transaction` ends, so that nothing is sealed with a master key on its way out.
 * Throws MasterKeyError if `master` is not the master key of the database any more.
 */
export async function requireCurrent(
  store: Store,
  transaction: Transaction<Tables>,
  master: MasterKey,
): Promise<void> {
  const check = transaction.selectFrom('facts').select('value').where('name', '=', checkName);
  // SQLite has one writer at a time, and no such clause.
  const row = await (store.kind === 'postgres' ? check.forShare() : check).executeTakeFirstOrThrow();
  requireVersion(master, keyVersionOf(row.value));
}

/** Throws MasterKeyError if `version` of the master key is not the one that this process has. */
export function requireVersion(master: MasterKey, version: number): void {
  if (version === master.version) return;
  throw new MasterKeyError(
    version > master.version
      ? `Sealed with a newer master key (version ${version}; this process has ${master.version}): the keys were rotated. Restart this process with the new one.`
      : `Sealed with an older master key (version ${version}; this process has ${master.version}).`,
  );
}

/** Where the next master key waits until the database is sealed with it. */
export function nextKeyFile(file: string): string {
  return `${file}.next`;
}

/** Makes `file` with a fresh key, durably; if there is one already, reads that. */
export async function makeKeyFile(file: string): Promise<Key> {
  // Written whole and durable under another name first: a crash never leaves half a key behind.
  const draft = `${file}.draft-${randomText(8)}`;
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
  // Also when another process linked first: its sync may be still to come.
  await syncDirectory(file);
  const made = await readKeyFile(file);
  if (!made) throw new MasterKeyError(`${file} went away while it was made.`);
  return made;
}

/** Puts the next key, which the database is sealed with by now, in the place of `file`, durably. */
export async function replaceKeyFile(file: string): Promise<void> {
  try {
    await rename(nextKeyFile(file), file);
  } catch (error) {
    // A server that started just now was faster (finishRotation).
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  await deleteDrafts(file);
  await syncDirectory(file);
}

/** A process that died while it made a key left a copy, which would outlive the key. */
async function deleteDrafts(file: string): Promise<void> {
  const directory = dirname(file);
  for (const name of await readdir(directory)) {
    const isDraft = name.startsWith(`${basename(file)}.`) && /\.draft-\w{8}$/.test(name);
    if (isDraft) await rm(join(directory, name), { force: true });
  }
}

/** After a crash between the database's change and the file's, the next key is the one that opens the check. */
async function finishRotation(file: string, check: string): Promise<void> {
  const next = await readKeyFile(nextKeyFile(file));
  if (next && opens(next, check)) await replaceKeyFile(file);
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

/**
 * The name is in the directory, not in the file: a power loss must not lose the key that rows already
 * acknowledged are sealed with.
 */
async function syncDirectory(file: string): Promise<void> {
  const directory = await open(dirname(file), 'r');
  await directory.sync();
  await directory.close();
}

async function prove(
  store: Store,
  key: Key,
  check: string | undefined,
  file: string | undefined,
): Promise<MasterKey> {
  if (check === undefined) {
    const value = sealCheck(key, 0);
    try {
      await store.write((tx) => tx.insertInto('facts').values({ name: checkName, value }).execute());
      return { key, version: 0, check: value, file };
    } catch (error) {
      if (!isDuplicate(error)) throw error;
      const row = await store.db
        .selectFrom('facts')
        .select('value')
        .where('name', '=', checkName)
        .executeTakeFirstOrThrow();
      return prove(store, key, row.value, file);
    }
  }
  const version = keyVersionOf(check);
  if (opens(key, check)) return { key, version, check, file };
  const rotated = version > 0 ? ' The keys were rotated since: this may be an older one.' : '';
  throw new MasterKeyError(
    `The master key is not the one that this database was sealed with. Set PATCHBAY_MASTER_KEY to that one.${rotated}`,
  );
}

function sealCheck(key: Key, version: number): string {
  return seal(key, version, [checkName], checkText);
}

function opens(key: Key, check: string): boolean {
  try {
    unseal(key, [checkName], check);
    return true;
  } catch {
    return false;
  }
}
