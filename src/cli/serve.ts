import { compose, type Patchbay } from '../compose.ts';
import { type Config, ConfigError, readConfig, unknownSettings } from '../platform/config.ts';
import { openLogger } from '../platform/logger.ts';
import { explainStartFailure } from './start-failure.ts';

/**
 * Runs the server until SIGTERM or SIGINT, then drains. Returns the exit code: 0 after a drain, 1 if it could
 * not start, 2 for settings that cannot be used.
 */
export async function serve(env: NodeJS.ProcessEnv): Promise<number> {
  let config: Config;
  try {
    config = readConfig(env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const problem of error.problems) console.error(`patchbay: ${problem}`);
    return 2;
  }
  const log = await openLogger(config.logLevel);
  for (const name of unknownSettings(env)) log.warn(`${name} is no setting of Patchbay; see patchbay --help`);

  // Files in the data directory stay private even when they are copied out of it.
  process.umask(0o077);
  const stopped = stopSignal();
  let patchbay: Patchbay | undefined;
  try {
    patchbay = await compose(config, log);
    await patchbay.listen();
  } catch (error) {
    // The key is stored by now, and no later start will print it.
    if (patchbay?.firstKey) console.log(welcome(patchbay.publicUrl().origin, patchbay.firstKey.reveal()));
    await patchbay?.close();
    console.error(`patchbay: ${explainStartFailure(error, `${config.host}:${config.port}`)}`);
    return 1;
  }
  if (patchbay.firstKey) console.log(welcome(patchbay.publicUrl().origin, patchbay.firstKey.reveal()));

  const signal = await stopped;
  log.info(`${signal}: finishing what is under way`);
  await patchbay.close();
  return 0;
}

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. */
function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const stop = (signal: NodeJS.Signals) => {
      resolve(signal);
      process.once('SIGTERM', () => process.exit(1)).once('SIGINT', () => process.exit(1));
    };
    process.once('SIGTERM', stop).once('SIGINT', stop);
  });
}

function welcome(url: string, key: string): string {
  return `
Your API key, shown this once:

  ${key}

For the SDK and the command line of the vendor:

  export SMITHERY_BASE_URL=${url}
  export SMITHERY_CONNECT_BASE_URL=${url}
  export SMITHERY_UPLINK_BASE_URL=${url}
  export SMITHERY_URL=${url}
  export SMITHERY_API_KEY=${key}

Try it:

  curl -H "Authorization: Bearer ${key}" ${url}/connect/default
`;
}
