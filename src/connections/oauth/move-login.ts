import type { Connection } from '../connection.ts';
import { type ConnectionsDeps, staleKey } from '../deps.ts';
import type { LoginNeed } from './login-need.ts';

/** The login of a connection is another one from now on: its setup page is to say so. */
export async function moveLogin(
  { store }: Pick<ConnectionsDeps, 'store'>,
  { uid, namespace, id, login, setupEpoch }: Connection,
  moved: Pick<LoginNeed, 'issuer' | 'scope'>,
): Promise<void> {
  const { resourceMetadataUrl, stepUps = 0 } = login ?? {};
  const need: LoginNeed = { ...moved, resourceMetadataUrl, stepUps };
  await store.write(async (transaction, stale) => {
    await transaction
      .updateTable('connections')
      .set({ login: JSON.stringify(need) })
      .where('uid', '=', uid)
      .where('setup_epoch', '=', setupEpoch)
      .where('login', 'is not', null)
      .execute();
    stale(staleKey(namespace, id));
  });
}
