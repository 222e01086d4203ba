import { createApiKey } from '../../identity/api-keys/create.ts';
import { ensureFirstOrganization, findFirstOrganization } from '../../identity/first-start.ts';
import { systemClock } from '../../platform/clock.ts';
import { ConfigError, readConfig } from '../../platform/config.ts';
import { prepareDataDirectory } from '../../platform/data-directory.ts';
import { openStore, type Store } from '../../platform/store/store.ts';
import { explainStartFailure } from '../start-failure.ts';

/** `patchbay keys create`: replaces a lost first key, by way of the store itself. Returns the exit code. */
export async function createKey(
  env: NodeJS.ProcessEnv,
  { name, json }: { name: string; json?: boolean },
): Promise<number> {
  let store: Store | undefined;
  try {
    const config = readConfig(env);
    await prepareDataDirectory(config.dataDir);
    store = await openStore(config);
    const first = await ensureFirstOrganization(store, systemClock, undefined);
    const organizationId = (await findFirstOrganization(store)) as string;
    const key = first ?? (await createApiKey(store, systemClock, organizationId, name)).key;
    console.log(json ? JSON.stringify({ key: key.reveal() }) : key.reveal());
    return 0;
  } catch (error) {
    console.error(`patchbay: ${explainStartFailure(error, '')}`);
    return error instanceof ConfigError ? 2 : 1;
  } finally {
    await store?.close();
  }
}
