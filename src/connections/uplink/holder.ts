import { rowId } from '../../platform/ids.ts';
import type { ConnectionsDeps } from '../deps.ts';
import { releaseAbandoned } from './claim.ts';

/** This process, as the holder of tunnels: alive as long as it says so. */
export interface Holder {
  readonly id: string;
  /** Says that this process holds tunnels no more; call it when all are released. */
  close(): Promise<void>;
}

/**
 * Makes this process known to the others, and releases what processes held that are no more: a row says `connected` only
 * while somebody holds its tunnel. On SQLite there is no other process, so all that is held at the start is abandoned;
 * on PostgreSQL a process that was killed is missed within `uplinkLeaseMs`.
 */
export async function openHolder(
  deps: Pick<ConnectionsDeps, 'store' | 'clock' | 'limits' | 'log' | 'stopping'>,
): Promise<Holder> {
  const { store, clock, limits, log, stopping } = deps;
  const id = rowId('proc');
  const isAlone = store.kind === 'sqlite';
  let cancel = () => {};
  let beating: Promise<void> = Promise.resolve();

  async function sayAlive(): Promise<void> {
    const alive_until = isAlone ? Number.MAX_SAFE_INTEGER : clock.now() + limits.uplinkLeaseMs;
    await store.db
      .insertInto('uplink_holders')
      .values({ id, alive_until })
      .onConflict((conflict) => conflict.column('id').doUpdateSet({ alive_until }))
      .execute();
    await releaseAbandoned(deps);
  }

  function beat(): void {
    beating = sayAlive()
      .catch((error: unknown) => log.error({ err: error }, 'the lease of the uplinks could not be renewed'))
      .finally(() => {
        if (!stopping.aborted) cancel = clock.after(limits.uplinkLeaseMs / 3, beat);
      });
  }

  if (isAlone) await store.db.deleteFrom('uplink_holders').execute();
  await sayAlive();
  if (!isAlone) cancel = clock.after(limits.uplinkLeaseMs / 3, beat);
  return {
    id,
    async close() {
      cancel();
      await beating;
      await store.db.deleteFrom('uplink_holders').where('id', '=', id).execute();
    },
  };
}
