import { beforeEach, expect, test } from 'vitest';
import { setUpWebhooks, type WebhookRig } from '../../../test/fixtures/webhooks.ts';
import { deleteNamespace } from '../../identity/namespaces.ts';
import { createWebhook, listWebhooks } from './webhook.ts';

let rig: WebhookRig;
beforeEach(async () => {
  rig = await setUpWebhooks();
  return rig.stop;
});

test.each([
  { what: 'deleted', madeAgainBy: undefined },
  { what: 'deleted and made again by another organization', madeAgainBy: 'other' },
])('no webhook is left in a namespace that is $what meanwhile', async ({ madeAgainBy }) => {
  const { store, keyring } = rig.deps;
  const meanwhile = {
    ...keyring,
    seal: async (...args: Parameters<typeof keyring.seal>) => {
      const sealed = await keyring.seal(...args);
      await deleteNamespace(store, 'org', 'default');
      if (madeAgainBy !== undefined) {
        const created_at = rig.clock.now();
        await store.db
          .insertInto('organizations')
          .values({ id: madeAgainBy, name: 'o', created_at })
          .execute();
        await store.db
          .insertInto('namespaces')
          .values({ name: 'default', organization_id: madeAgainBy, created_at })
          .execute();
      }
      return sealed;
    },
  };
  const request = { url: rig.receiver.url, events: ['connection.recovered' as const] };
  await expect(createWebhook({ ...rig.deps, keyring: meanwhile }, 'default', request)).rejects.toMatchObject({
    code: 'namespace_not_found',
  });
  expect(await listWebhooks(store, 'default')).toEqual([]);
});
