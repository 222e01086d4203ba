import { ConfigError, readConfig } from '../platform/config.ts';
import { prepareDataDirectory } from '../platform/data-directory.ts';
import { openStore, type Store } from '../platform/store/store.ts';
import { explainStartFailure } from './start-failure.ts';

/**
 * Does `work` on the store itself, for commands that the server does not do for its operator. Returns the exit code: 1
 * where `work` returns or throws why it cannot be done.
 */
export async function withStore(
  env: NodeJS.ProcessEnv,
  work: (store: Store) => Promise<string | undefined>,
): Promise<number> {
  let store: Store | undefined;
  try {
    const config = readConfig(env);
    await prepareDataDirectory(config.dataDir);
    store = await openStore(config);
    const problem = await work(store);
    if (problem !== undefined) console.error(`patchbay: ${problem}`);
    return problem === undefined ? 0 : 1;
  } catch (error) {
    console.error(`patchbay: ${explainStartFailure(error, '')}`);
    return error instanceof ConfigError ? 2 : 1;
  } finally {
    await store?.close();
  }
}
