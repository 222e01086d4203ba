import type { Kysely } from 'kysely';
import { sql } from 'kysely';
import type postgres from 'postgres';
import type { Tables } from './schema.ts';

/**
 * Which remembered thing went stale: `connection:ns/id`, `namespace:name`, `key:hash`, `root:id`, `token:org/id`,
 * `signing-keys`; `null` means all of them.
 */
export type StaleKey = string | null;

/** Some key that signs tokens was added or retired. */
export const signingKeysStale = 'signing-keys';

/** Tells every process that shares the database which cache entries went stale. Carries keys, never bodies. */
export interface Invalidation {
  /** Runs inside the transaction that makes `keys` stale, so that the message and the change are one. */
  inTransaction(transaction: Kysely<Tables>, keys: readonly string[]): Promise<void>;
  /** Runs in this process after the commit. */
  afterCommit(keys: readonly string[]): void;
  listen(listener: (key: StaleKey) => void): void;
  close(): Promise<void>;
}

/** For SQLite, where no second process exists. */
export function createLocalInvalidation(): Invalidation {
  const listeners: ((key: StaleKey) => void)[] = [];
  return {
    inTransaction: async () => {},
    afterCommit(keys) {
      for (const key of keys) for (const listener of listeners) listener(key);
    },
    listen(listener) {
      listeners.push(listener);
    },
    close: async () => {},
  };
}

const channel = 'patchbay_stale';

/**
 * For PostgreSQL: LISTEN/NOTIFY. While the listening socket was down messages were lost, so each time it
 * comes back everything counts as stale; entries also carry a short life of their own (limits).
 */
export async function createPostgresInvalidation(client: postgres.Sql): Promise<Invalidation> {
  const listeners: ((key: StaleKey) => void)[] = [];
  const tell = (key: StaleKey) => {
    for (const listener of listeners) listener(key);
  };
  const { unlisten } = await client.listen(channel, tell, () => tell(null));
  return {
    async inTransaction(transaction, keys) {
      for (const key of new Set(keys)) {
        await sql`select pg_notify(${channel}, ${key})`.execute(transaction);
      }
    },
    afterCommit(keys) {
      for (const key of keys) tell(key);
    },
    listen(listener) {
      listeners.push(listener);
    },
    close: unlisten,
  };
}
