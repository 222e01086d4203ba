import { ensureFirstOrganization } from '../../identity/first-start.ts';
import { createOrganization } from '../../identity/organizations.ts';
import { systemClock } from '../../platform/clock.ts';
import { isStorableText } from '../../platform/store/storable-text.ts';
import { withStore } from '../with-store.ts';

const nameChars = 256;

/** `patchbay organizations create`: another tenant, by way of the store itself. Returns the exit code. */
export function createOrganizationCommand(
  env: NodeJS.ProcessEnv,
  name: string,
  { json }: { json?: boolean },
): Promise<number> {
  return withStore(env, async (store) => {
    if (name.trim() === '' || name.length > nameChars || !isStorableText(name)) {
      return `A name has 1 to ${nameChars} characters, none of them control characters.`;
    }
    // So that the first one stays the one of the operator.
    await ensureFirstOrganization(store, systemClock, undefined);
    const { id, key } = await createOrganization(store, systemClock, name);
    console.log(
      json
        ? JSON.stringify({ id, name, key: key.reveal() })
        : `Organization: ${id}\nAPI key: ${key.reveal()}`,
    );
    return undefined;
  });
}
