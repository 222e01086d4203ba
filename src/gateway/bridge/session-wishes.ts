import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../../platform/clock.ts';
import type { Limits } from '../../platform/limits.ts';
import type { Store } from '../../platform/store/store.ts';

/** What a legacy caller asked for in its session, which a modern server is told with each request. */
export interface Wishes {
  /** By `logging/setLevel`. */
  logLevel: string | undefined;
  /** URIs, by `resources/subscribe`. */
  resources: readonly string[];
}

/** The wishes of sessions, by the hash of the session's id, as long as a session can last: for every process the same. */
export interface SessionWishes {
  /** Answered from memory. */
  get(idHash: string): Wishes;
  setLogLevel(idHash: string, level: string): Promise<void>;
  /** False if the session has as many subscriptions as it may. */
  subscribe(idHash: string, uri: string): Promise<boolean>;
  unsubscribe(idHash: string, uri: string): Promise<void>;
  /** The session has ended. */
  forget(idHash: string): Promise<void>;
}

const staleKey = 'session-wishes:';
const levelName = 'log_level';
const resourceName = 'resource:';
const none: Wishes = { logLevel: undefined, resources: [] };

/** Reads what was wished before, and learns of each later wish as it happens; `changed` hears whose subscriptions did. */
export async function openSessionWishes(
  store: Store,
  clock: Clock,
  limits: Limits,
  changed: (idHash: string) => void,
): Promise<SessionWishes> {
  /** Those that are remembered longest stand last. */
  const known = new Map<string, Wishes & { expiresAt: number }>();
  // One after the other, so that what was read last is the newest.
  let loading: Promise<void> = Promise.resolve();

  function load(idHash?: string): Promise<void> {
    const loaded = loading.then(() => read(idHash));
    loading = loaded.catch(() => {});
    return loaded;
  }

  async function read(idHash: string | undefined): Promise<void> {
    let query = store.db
      .selectFrom('session_wishes')
      .select(['id_hash', 'name', 'value', 'expires_at'])
      .where('expires_at', '>', clock.now());
    if (idHash !== undefined) query = query.where('id_hash', '=', idHash);
    const rows = await query.orderBy('expires_at').orderBy('name').execute();
    const before = idHash === undefined ? new Map(known) : new Map([[idHash, known.get(idHash) ?? none]]);
    for (const hash of before.keys()) known.delete(hash);
    for (const { id_hash, name, value, expires_at } of rows) {
      const { logLevel, resources } = known.get(id_hash) ?? none;
      known.delete(id_hash);
      known.set(id_hash, {
        logLevel: name === levelName ? value : logLevel,
        resources: name === levelName ? resources : [...resources, name.slice(resourceName.length)],
        expiresAt: expires_at,
      });
    }
    for (const [oldest, { expiresAt }] of known) {
      if (expiresAt > clock.now()) break;
      known.delete(oldest);
    }
    // A change of this process is read twice: once it is made, and when word of it comes back.
    for (const hash of new Set([...before.keys(), ...rows.map(({ id_hash }) => id_hash)])) {
      const [old, now] = [before.get(hash) ?? none, known.get(hash) ?? none];
      if (!isDeepStrictEqual(old.resources, now.resources)) changed(hash);
    }
  }

  type Work = Parameters<typeof store.write<void>>[0];

  async function write(idHash: string, work: Work): Promise<void> {
    await store.write(async (transaction, stale) => {
      await transaction.deleteFrom('session_wishes').where('expires_at', '<=', clock.now()).execute();
      await work(transaction, stale);
      stale(staleKey + idHash);
    });
    // The caller's next request may come before the message of the change does.
    await load(idHash);
  }

  const put = (idHash: string, name: string, value: string) =>
    write(idHash, async (transaction) => {
      const expires_at = clock.now() + limits.callerSessionMs;
      await transaction
        .insertInto('session_wishes')
        .values({ id_hash: idHash, name, value, expires_at })
        .onConflict((conflict) => conflict.columns(['id_hash', 'name']).doUpdateSet({ value, expires_at }))
        .execute();
    });

  const remove = (idHash: string, name: string | undefined) =>
    write(idHash, async (transaction) => {
      let query = transaction.deleteFrom('session_wishes').where('id_hash', '=', idHash);
      if (name !== undefined) query = query.where('name', '=', name);
      await query.execute();
    });

  store.onStale((key) => {
    if (key === null) void load().catch(() => {});
    else if (key.startsWith(staleKey)) void load(key.slice(staleKey.length)).catch(() => {});
  });
  await load();
  return {
    get(idHash) {
      const { logLevel, resources } = known.get(idHash) ?? none;
      return { logLevel, resources };
    },
    setLogLevel: (idHash, level) => put(idHash, levelName, level),
    async subscribe(idHash, uri) {
      const { resources } = known.get(idHash) ?? none;
      if (!resources.includes(uri) && resources.length >= limits.subscribedResources) return false;
      await put(idHash, resourceName + uri, '');
      return true;
    },
    unsubscribe: (idHash, uri) => remove(idHash, resourceName + uri),
    async forget(idHash) {
      if (known.has(idHash)) await remove(idHash, undefined);
    },
  };
}
