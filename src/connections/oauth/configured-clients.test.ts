import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/fixtures/database.ts';
import { systemClock } from '../../platform/clock.ts';
import { openKeyring } from '../../platform/keyring.ts';
import { defaultLimits } from '../../platform/limits.ts';
import { Secret } from '../../platform/secret.ts';
import { openStore, type Store } from '../../platform/store/store.ts';
import { newKeyBytes } from '../../platform/vault.ts';
import type { AppliesTo, ClientDetails } from './configured-client.ts';
import {
  createConfiguredClient,
  deleteConfiguredClient,
  findConfiguredClient,
  findConfiguredClientById,
  listConfiguredClients,
} from './configured-clients.ts';

let dataDir: string;
let database: TestDatabase;
let store: Store;
let deps: Parameters<typeof createConfiguredClient>[0];

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'patchbay-clients-'));
  database = await createTestDatabase(dataDir);
  store = await openStore({ dataDir, databaseUrl: database.url ? new Secret(database.url) : undefined });
  const keyring = await openKeyring(store, systemClock, dataDir, new Secret(newKeyBytes()));
  deps = { store, keyring, clock: systemClock, limits: defaultLimits };
  await store.db.insertInto('organizations').values({ id: 'org', name: 'org', created_at: 0 }).execute();
});
afterAll(async () => {
  await store.close();
  await database.drop();
  await rm(dataDir, { recursive: true, force: true });
});
beforeEach(async () => {
  await store.db.deleteFrom('namespaces').execute();
  for (const name of ['here', 'there']) await makeNamespace(name);
});

const makeNamespace = (name: string) =>
  store.db
    .insertInto('namespaces')
    .values({ name, organization_id: 'org', created_at: Date.now() })
    .execute();

const issuer = 'https://login.example/tenant';
const mcpUrl = 'https://mcp.example/team/mcp';

function configure(appliesTo: AppliesTo, clientId: string, secret?: string, more?: Partial<ClientDetails>) {
  const details = {
    ...appliesTo,
    clientId,
    tokenEndpointAuthMethod: secret === undefined ? 'none' : 'client_secret_basic',
    grantType: 'authorization_code',
    ...more,
  } as ClientDetails;
  return createConfiguredClient(deps, 'here', {
    details,
    proof: secret === undefined ? undefined : new Secret(secret),
  });
}

const find = async (where: { mcpUrl: string; issuer?: string }, namespace = 'here') =>
  (await findConfiguredClient(deps, namespace, { issuer: undefined, ...where }))?.clientId;

describe('findConfiguredClient', () => {
  test('finds none where none is', async () => {
    expect(await find({ mcpUrl, issuer })).toBeUndefined();
  });

  test('opens the secret again, and shows it to nobody who only looks', async () => {
    await configure({ issuer }, 'c', 'sëcret');
    const found = await findConfiguredClient(deps, 'here', { mcpUrl, issuer });
    expect(found?.clientSecret?.reveal()).toBe('sëcret');
    expect(found?.privateKey).toBeUndefined();
    expect(JSON.stringify(found) + inspect(found)).not.toContain('sëcret');
  });

  test('opens a key as a key, with its algorithm', async () => {
    await configure({ issuer }, 'c', '{"kty":"EC"}', {
      tokenEndpointAuthMethod: 'private_key_jwt',
      algorithm: 'ES256',
      grantType: 'client_credentials',
      scope: 'a b',
    });
    const found = await findConfiguredClient(deps, 'here', { mcpUrl, issuer });
    expect(found).toMatchObject({
      clientSecret: undefined,
      algorithm: 'ES256',
      tokenEndpointAuthMethod: 'private_key_jwt',
      grantType: 'client_credentials',
      scope: 'a b',
    });
    expect(found?.privateKey?.reveal()).toBe('{"kty":"EC"}');
  });

  test('has neither secret nor key for a public client', async () => {
    await configure({ issuer }, 'c');
    const found = await findConfiguredClient(deps, 'here', { mcpUrl, issuer });
    expect(found).toMatchObject({ clientId: 'c', clientSecret: undefined, privateKey: undefined });
  });

  test('prefers the one for the server, whichever was first', async () => {
    await configure({ server: mcpUrl }, 'for-server');
    await configure({ issuer }, 'for-issuer');
    await configure({ server: `${mcpUrl}/other` }, 'for-other-server');
    expect(await find({ mcpUrl, issuer })).toBe('for-server');
    expect(await find({ mcpUrl })).toBe('for-server');
    expect(await find({ mcpUrl: 'https://elsewhere.example/mcp', issuer })).toBe('for-issuer');
    expect(await find({ mcpUrl: `${mcpUrl}/other`, issuer })).toBe('for-other-server');
  });

  test.each([
    [`${mcpUrl}?api_key=1`, true],
    [`${mcpUrl}#x`, true],
    [`${mcpUrl}/`, false],
    ['https://mcp.example/team', false],
    ['https://mcp.example:444/team/mcp', false],
    ['http://mcp.example/team/mcp', false],
    ['https://mcp.example.org/team/mcp', false],
  ])('takes %s for the same server: %s', async (url, isSame) => {
    await configure({ server: mcpUrl }, 'c');
    expect(await find({ mcpUrl: url })).toBe(isSame ? 'c' : undefined);
  });

  test.each([
    [issuer, issuer, true],
    [issuer, `${issuer}/`, true],
    [`${issuer}/`, issuer, true],
    [issuer, `${issuer}//`, false],
    [issuer, `${issuer}/x`, false],
    [issuer, issuer.toUpperCase(), false],
    [issuer, 'https://login.example:443/tenant', false],
    [issuer, 'https://login.example/x/../tenant', false],
    [issuer, `${issuer}\u0000`, false],
  ])('compares issuer %s with %s as written: %s', async (configured, asked, isSame) => {
    await configure({ issuer: configured }, 'c');
    expect(await find({ mcpUrl, issuer: asked })).toBe(isSame ? 'c' : undefined);
  });

  test('finds nothing of another namespace', async () => {
    await configure({ issuer }, 'c', 's');
    expect(await find({ mcpUrl, issuer }, 'there')).toBeUndefined();
  });

  test('opens no secret that was moved to another row', async () => {
    await configure({ issuer }, 'victim', 's');
    await configure({ server: mcpUrl }, 'thief', 't');
    const rows = await store.db.selectFrom('oauth_clients').selectAll().execute();
    const victim = rows.find(({ applies_to }) => applies_to.startsWith('issuer:'));
    await store.db
      .updateTable('oauth_clients')
      .set({ sealed: victim?.sealed as string })
      .where('applies_to', 'like', 'server:%')
      .execute();
    await expect(find({ mcpUrl })).rejects.toThrow('does not open');
    expect(await find({ mcpUrl: 'https://elsewhere.example/', issuer })).toBe('victim');
  });
});

describe('createConfiguredClient', () => {
  test('keeps the id when the same client is configured again with a new secret', async () => {
    const first = await configure({ issuer }, 'c', 'old');
    await deleteConfiguredClient(deps, 'here', first.id);
    expect(await findConfiguredClientById(deps, 'here', first.id)).toBeUndefined();
    const again = await configure({ issuer: `${issuer}/` }, 'c', 'new');
    expect(again.id).toBe(first.id);
    const found = await findConfiguredClientById(deps, 'here', first.id);
    expect(found?.clientSecret?.reveal()).toBe('new');
    expect(await findConfiguredClientById(deps, 'there', first.id)).toBeUndefined();
    await deleteConfiguredClient(deps, 'here', again.id);
    expect((await configure({ issuer }, 'another', 'new')).id).not.toBe(first.id);
  });

  test('stores no more than the limit when many come at once', async () => {
    deps = { ...deps, limits: { ...defaultLimits, oauthClientsPerNamespace: 3 } };
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, (_, i) => configure({ issuer: `https://login.example/${i}` }, 'c', 's')),
    );
    deps = { ...deps, limits: defaultLimits };
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'validation_error' });
    }
    expect(await listConfiguredClients(deps, 'here')).toHaveLength(3);
  });

  test('stores one of many for the same issuer', async () => {
    const results = await Promise.allSettled(
      Array.from({ length: 5 }, (_, i) => configure({ issuer }, `c${i}`, 's')),
    );
    const reasons = results.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []));
    expect(reasons).toEqual(Array(4).fill('already_exists'));
  });

  test('answers namespace_not_found once the namespace is gone', async () => {
    await store.db.deleteFrom('namespaces').where('name', '=', 'here').execute();
    for (const secret of ['s', undefined]) {
      await expect(configure({ issuer }, 'c', secret)).rejects.toMatchObject({ code: 'namespace_not_found' });
    }
  });

  test('stores nothing in a namespace that was deleted and made again meanwhile', async () => {
    const { keyring } = deps;
    const slow: typeof keyring = {
      ...keyring,
      seal: async (...given) => {
        const sealed = await keyring.seal(...given);
        await store.db.deleteFrom('namespaces').where('name', '=', 'here').execute();
        await store.db
          .insertInto('namespaces')
          .values({ name: 'here', organization_id: 'org', created_at: 1 })
          .execute();
        return sealed;
      },
    };
    deps = { ...deps, keyring: slow };
    await expect(configure({ issuer }, 'c', 's')).rejects.toMatchObject({ code: 'namespace_not_found' });
    deps = { ...deps, keyring };
    expect(await listConfiguredClients(deps, 'here')).toEqual([]);
  });
});

describe('deleteConfiguredClient', () => {
  test('deletes that one only, and only of its namespace', async () => {
    const { id } = await configure({ issuer }, 'c', 's');
    await configure({ server: mcpUrl }, 'd');
    await expect(deleteConfiguredClient(deps, 'there', id)).rejects.toMatchObject({ code: 'not_found' });
    await deleteConfiguredClient(deps, 'here', id);
    await expect(deleteConfiguredClient(deps, 'here', id)).rejects.toMatchObject({ code: 'not_found' });
    expect((await listConfiguredClients(deps, 'here')).map(({ clientId }) => clientId)).toEqual(['d']);
  });

  test('answers not_found for an id that no database takes', async () => {
    await expect(deleteConfiguredClient(deps, 'here', 'a\u0000b')).rejects.toMatchObject({
      code: 'not_found',
    });
  });
});
