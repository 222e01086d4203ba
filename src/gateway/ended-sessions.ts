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

/** Reads what was ended before, and learns of each later one as it happens, in whichever process; `ended` hears of those. */
export async function openEndedSessions(
  store: Store,
  clock: Clock,
  ended: (idHash: string) => void,
): Promise<EndedSessions> {
  /** Hashes, and until when each is remembered. */
  const known = new Map<string, number>();

  // Adds only: what is learnt while the rows are read must stay known.
  async function load(): Promise<void> {
    const rows = await store.db
      .selectFrom('ended_sessions')
      .select(['id_hash', 'expires_at'])
      .where('expires_at', '>', clock.now())
      .orderBy('expires_at')
      .execute();
    for (const { id_hash, expires_at } of rows) {
      known.set(id_hash, expires_at);
      ended(id_hash);
    }
  }

  function learn(idHash: string, expiresAt: number): void {
    // All live equally long, so the oldest stand first.
    for (const [hash, until] of known) {
      if (until > clock.now()) break;
      known.delete(hash);
    }
    known.set(idHash, expiresAt);
  }

  store.onStale((key) => {
    if (key === null) void load().catch(() => {});
    else if (key.startsWith(staleKey)) {
      const [idHash = '', expiresAt] = key.slice(staleKey.length).split(':');
      learn(idHash, Number(expiresAt));
      ended(idHash);
    }
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
        stale(`${staleKey}${idHash}:${expiresAt}`);
      });
    },
  };
}
