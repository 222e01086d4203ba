import type { Clock } from '../platform/clock.ts';
import type { Store } from '../platform/store/store.ts';

/** Session ids that were ended before their time, by hash: a sealed id cannot be called back otherwise. */
export interface EndedSessions {
  /** Answered from memory, in every process. */
  has(idHash: string): boolean;
  /** Remembers one until `expiresAt` (epoch milliseconds). */
  add(idHash: string, expiresAt: number): Promise<void>;
}

const staleKey = 'ended-session:';

/** Reads what was ended before, and learns of each later one as it happens. */
export async function openEndedSessions(store: Store, clock: Clock): Promise<EndedSessions> {
  let known = new Set<string>();

  async function load(): Promise<void> {
    const rows = await store.db
      .selectFrom('ended_sessions')
      .select('id_hash')
      .where('expires_at', '>', clock.now())
      .execute();
    known = new Set(rows.map(({ id_hash }) => id_hash));
  }

  store.onStale((key) => {
    if (key === null) void load().catch(() => {});
    else if (key.startsWith(staleKey)) known.add(key.slice(staleKey.length));
  });
  await load();
  return {
    has: (idHash) => known.has(idHash),
    async add(idHash, expiresAt) {
      await store.write(async (transaction, stale) => {
        await transaction.deleteFrom('ended_sessions').where('expires_at', '<=', clock.now()).execute();
        await transaction
          .insertInto('ended_sessions')
          .values({ id_hash: idHash, expires_at: expiresAt })
          .onConflict((conflict) => conflict.doNothing())
          .execute();
        stale(`${staleKey}${idHash}`);
      });
    },
  };
}
