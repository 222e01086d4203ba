import { iconUrlOf, readServerInfo } from '../../mcp/server-info.ts';
import type { Limits } from '../../platform/limits.ts';
import { type Connection, fromRow } from '../connection.ts';
import { type ConnectionsDeps, staleKey } from '../deps.ts';
import { readInstructions } from '../pins/instructions.ts';

type ClaimDeps = Pick<ConnectionsDeps, 'store' | 'clock'>;

/**
 * Makes the process `holder` the holder of the uplink's tunnel, and the connection `connected`. A new version of its
 * target begins with each pairing, so nothing that was learned of an earlier one counts. undefined if another live process,
 * or this one, holds it already, unless by `force`; or if the connection is gone.
 */
export async function claimTunnel(
  { store, clock }: ClaimDeps,
  { uid, namespace, id }: Connection,
  holder: string,
  force: boolean,
): Promise<Connection | undefined> {
  return store.write(async (transaction, stale) => {
    const now = clock.now();
    const row = await transaction
      .updateTable('connections')
      .set((eb) => ({
        uplink_holder: holder,
        target_version: eb('target_version', '+', 1),
        status: JSON.stringify({ state: 'connected' }),
        status_at: now,
        protocol: JSON.stringify({ uplink: true }),
        server_info: null,
        icon_url: null,
      }))
      .where('uid', '=', uid)
      .where('transport', '=', 'uplink')
      .$if(!force, (update) =>
        update.where((eb) =>
          eb.or([
            eb('uplink_holder', 'is', null),
            eb(
              'uplink_holder',
              'not in',
              eb.selectFrom('uplink_holders').select('id').where('alive_until', '>', now),
            ),
          ]),
        ),
      )
      .returningAll()
      .executeTakeFirst();
    if (!row) return undefined;
    stale(staleKey(namespace, id));
    return fromRow(row);
  });
}

/** Notes what the server behind the tunnel says of itself (its InitializeResult), as long as the pairing is the one of `connection`. */
export async function noteServerInfo(
  { store, limits }: ClaimDeps & { limits: Limits },
  connection: Connection,
  result: Record<string, unknown>,
): Promise<void> {
  const { namespace, id } = connection;
  const serverInfo = readServerInfo(result.serverInfo, limits);
  const instructions = readInstructions(result.instructions, limits.instructionsChars);
  await store.write(async (transaction, stale) => {
    stale(staleKey(namespace, id));
    await transaction
      .updateTable('connections')
      .set({
        server_info: serverInfo ? JSON.stringify(serverInfo) : null,
        icon_url: iconUrlOf(serverInfo),
        instructions: JSON.stringify(instructions),
      })
      .where('uid', '=', connection.uid)
      .where('target_version', '=', connection.targetVersion)
      .where('uplink_holder', 'is not', null)
      .execute();
  });
}

/** What a connection is whose tunnel is gone: nothing of its server is known any more. */
const unpaired = {
  uplink_holder: null,
  status: JSON.stringify({ state: 'disconnected' }),
  protocol: null,
  server_info: null,
  icon_url: null,
  instructions: null,
};

/** Makes the connection `disconnected`, unless it was paired again since. */
export async function releaseTunnel({ store, clock }: ClaimDeps, connection: Connection): Promise<void> {
  const { uid, namespace, id, targetVersion, uplinkHolder } = connection;
  await store.write(async (transaction, stale) => {
    stale(staleKey(namespace, id));
    await transaction
      .updateTable('connections')
      .set({ ...unpaired, status_at: clock.now() })
      .where('uid', '=', uid)
      .where('target_version', '=', targetVersion)
      .where('uplink_holder', '=', uplinkHolder)
      .execute();
  });
}

/** Makes every connection `disconnected` whose tunnel was held by a process that is no more. */
export async function releaseAbandoned({ store, clock }: ClaimDeps): Promise<void> {
  await store.write(async (transaction, stale) => {
    const now = clock.now();
    const rows = await transaction
      .updateTable('connections')
      .set({ ...unpaired, status_at: now })
      .where('uplink_holder', 'is not', null)
      .where('uplink_holder', 'not in', (eb) =>
        eb.selectFrom('uplink_holders').select('id').where('alive_until', '>', now),
      )
      .returning(['namespace', 'id'])
      .execute();
    for (const { namespace, id } of rows) stale(staleKey(namespace, id));
    await transaction.deleteFrom('uplink_holders').where('alive_until', '<=', now).execute();
  });
}
