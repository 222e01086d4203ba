import { systemClock } from '../../platform/clock.ts';
import { ConfigError, readConfig, readNewMasterKey } from '../../platform/config.ts';
import { prepareDataDirectory } from '../../platform/data-directory.ts';
import { defaultLimits } from '../../platform/limits.ts';
import { openMasterKey } from '../../platform/master-key.ts';
import { type Rotation, type RotationStep, rotateKeys } from '../../platform/rotate-keys.ts';
import { Secret } from '../../platform/secret.ts';
import { openStore, type Store } from '../../platform/store/store.ts';
import { type Key, newKeyBytes } from '../../platform/vault.ts';
import { explainStartFailure } from '../start-failure.ts';

const progressEveryMs = 2_000;

/**
 * `patchbay keys rotate`: replaces the master key and all data keys, and seals every secret anew. Results go to
 * stdout, as one JSON document with `json`; warnings and progress to stderr. Returns the exit code.
 */
export async function rotate(env: NodeJS.ProcessEnv, { json }: { json?: boolean }): Promise<number> {
  const tell = json ? console.error : console.log;
  let store: Store | undefined;
  let lastStep: RotationStep['name'] | undefined;
  try {
    const config = readConfig(env);
    const newMasterKey = readNewMasterKey(env);
    await prepareDataDirectory(config.dataDir);
    store = await openStore(config);
    const current = await openMasterKey(store, config.dataDir, config.masterKey);
    if (store.kind === 'postgres') {
      console.error(
        'patchbay: Every process that shares this database must be started again with the new master key; until then it cannot open secrets.',
      );
    }
    const given = newMasterKey ?? (current.file === undefined ? printNewKey(tell) : undefined);
    const tellProgress = progress();
    const rotation = await rotateKeys(
      { store, clock: systemClock, limits: defaultLimits },
      current,
      given,
      (step) => {
        lastStep = step.name;
        if (step.name === 'resealed') tellProgress(step.values);
      },
    );
    report(rotation, current.file, json);
    return 0;
  } catch (error) {
    console.error(`patchbay: ${explainStartFailure(error, '')}`);
    const isInForce = lastStep !== undefined && lastStep !== 'made';
    if (isInForce) {
      console.error(
        'patchbay: The new master key is in force, but not everything is sealed anew. Run the command again with it.',
      );
    }
    return error instanceof ConfigError ? 2 : 1;
  } finally {
    await store?.close();
  }
}

/** Makes a master key and prints it while nothing is sealed with it yet: a crash must not take the only copy away. */
function printNewKey(tell: (text: string) => void): Key {
  const bytes = newKeyBytes();
  tell(`
The new master key, shown this once. Keep it, and start every process with it once this command has ended well:

  export PATCHBAY_MASTER_KEY=${bytes.toString('base64')}
`);
  return new Secret(bytes);
}

/** Tells how far it is when some time has passed since it told last. */
function progress(): (values: number) => void {
  let toldAt = systemClock.elapsed();
  return (values) => {
    if (systemClock.elapsed() - toldAt < progressEveryMs) return;
    toldAt = systemClock.elapsed();
    console.error(`patchbay: ${values} values are sealed anew.`);
  };
}

function report(
  { namespaces, values, unreadable }: Rotation,
  keyFile: string | undefined,
  json: boolean | undefined,
): void {
  for (const { namespace, identity } of unreadable) {
    console.error(
      `patchbay: The value ${identity.join(' ')} in namespace ${namespace} opens with no key; it stays as it is.`,
    );
  }
  if (json) {
    console.log(JSON.stringify({ namespaces, values, ...(keyFile !== undefined && { keyFile }) }));
    return;
  }
  console.log(`Namespaces with a new data key: ${namespaces}. Values sealed anew: ${values}.`);
  console.log(
    keyFile === undefined
      ? 'The old PATCHBAY_MASTER_KEY opens only backups made before.'
      : `The new master key is in ${keyFile}; back it up. The old one opens only backups made before.`,
  );
}
