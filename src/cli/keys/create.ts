import { createApiKey } from '../../identity/api-keys/create.ts';
import { ensureFirstOrganization, findFirstOrganization } from '../../identity/first-start.ts';
import { hasOrganization } from '../../identity/organizations.ts';
import { systemClock } from '../../platform/clock.ts';
import { withStore } from '../with-store.ts';

/** `patchbay keys create`: replaces a lost key, by way of the store itself. Returns the exit code. */
export function createKey(
  env: NodeJS.ProcessEnv,
  { name, organization, json }: { name: string; organization?: string; json?: boolean },
): Promise<number> {
  return withStore(env, async (store) => {
    const first = await ensureFirstOrganization(store, systemClock, undefined);
    if (organization !== undefined && !(await hasOrganization(store, organization))) {
      return `There is no organization ${organization}. GET /organizations tells the id of the key that asks.`;
    }
    const organizationId = organization ?? ((await findFirstOrganization(store)) as string);
    const isFirst = first !== undefined && organization === undefined;
    const key = isFirst ? first : (await createApiKey(store, systemClock, organizationId, name)).key;
    console.log(json ? JSON.stringify({ key: key.reveal() }) : key.reveal());
    return undefined;
  });
}
