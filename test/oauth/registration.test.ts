import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { mcp, put, read, stored, untilState } from '../fixtures/fault.ts';
import { followLogin } from '../fixtures/oauth/browser.ts';
import { answer } from '../fixtures/oauth/faults.ts';
import { rfc7591Fields } from '../fixtures/oauth/faulty-behaviour.ts';
import {
  awaitLogin,
  connectByLogin,
  expectCallWorks,
  logInAgain,
  type OAuthRig,
  refreshes,
  rpc,
  setUpOAuth,
  setupUrlOf,
  tokenRequests,
} from '../fixtures/oauth/rig.ts';
import type { TestPatchbay } from '../fixtures/patchbay.ts';

let rig: OAuthRig;
beforeEach(async () => {
  rig = await setUpOAuth();
});
afterEach(() => rig.stop());

const registrations = () => rig.server.requestsTo('registration').map(({ json }) => json ?? {});
const authorizations = () => rig.server.requestsTo('authorize').map(({ url }) => url.searchParams);
const callbackOf = (pb: TestPatchbay) => `${pb.url}/oauth/callback`;

async function configure(pb: TestPatchbay, client: Record<string, unknown>, namespace = 'default') {
  const added = await pb.request(`/namespaces/${namespace}/oauth-clients`, { method: 'POST', json: client });
  expect(added.status).toBe(201);
}

/** A client that somebody has registered by hand at the provider. */
function preRegister(pb: TestPatchbay, id: string, secret?: string): void {
  const client = { client_id: id, redirect_uris: [callbackOf(pb)] };
  rig.server.book.clients.set(id, { ...client, ...(secret && { client_secret: secret }) });
}

describe('a registration', () => {
  // pains 8
  test('asks for refresh tokens and for what the login uses', async () => {
    const pb = await rig.start();
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    expect(registrations()).toEqual([
      {
        client_name: 'Patchbay',
        redirect_uris: [callbackOf(pb)],
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        token_endpoint_auth_method: 'client_secret_basic',
        application_type: 'native',
      },
    ]);
  });

  // pains 8
  test.each([
    ['read', ['read', 'offline_access'], 'read offline_access'],
    ['read', ['read'], 'read'],
    ['read offline_access', ['offline_access'], 'read offline_access'],
    ['read', undefined, 'read'],
  ])(
    'is followed by a login for %j, where %j are on offer, that asks for %j',
    async (wanted, offered, asked) => {
      rig.server.behaviour.mcp.challenge = { ...rig.server.behaviour.mcp.challenge, scope: wanted };
      rig.server.behaviour.metadata.document = { scopes_supported: offered };
      const pb = await rig.start();
      await connectByLogin(pb, 'c', rig.server.mcpUrl);
      expect(authorizations()[0]?.get('scope')).toBe(asked);
    },
  );

  test('is made once for all connections of a namespace to one authorization server', async () => {
    const pb = await rig.start();
    for (const id of ['a', 'b', 'c']) await connectByLogin(pb, id, rig.server.mcpUrl);
    await logInAgain(pb, 'a');
    await pb.request('/connect/default/b', { method: 'DELETE' });
    await connectByLogin(pb, 'b', rig.server.mcpUrl);
    expect(registrations()).toHaveLength(1);
    expect(new Set(authorizations().map((query) => query.get('client_id'))).size).toBe(1);
  });

  test('is of use at the issuer that made it alone, and in one namespace', async () => {
    const other = await setUpOAuth();
    try {
      const pb = await rig.start();
      await connectByLogin(pb, 'a', rig.server.mcpUrl);
      await connectByLogin(pb, 'b', other.server.mcpUrl);
      expect(registrations()).toHaveLength(1);
      expect(other.server.requestsTo('registration')).toHaveLength(1);

      expect((await pb.request('/namespaces/second', { method: 'PUT', json: {} })).status).toBe(201);
      const created = await read(
        await pb.request('/connect/second/a', { method: 'PUT', json: { mcpUrl: rig.server.mcpUrl } }),
      );
      await followLogin((created.json.status as { setupUrl: string }).setupUrl);
      expect((await stored(pb, 'a', 'second')).state).toBe('connected');
      expect(registrations()).toHaveLength(2);
    } finally {
      await other.stop();
    }
  });

  // pains 10
  test('is made anew when our address has changed, and the login uses the address that is registered', async () => {
    const pb = await rig.start();
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    const before = callbackOf(pb);
    await pb.restart();
    const after = callbackOf(pb);
    expect(after).not.toBe(before);
    const steps = await logInAgain(pb, 'c');
    expect(steps.at(-1)?.text).toContain('All set');
    expect(registrations().map((body) => body.redirect_uris)).toEqual([[before], [after]]);
    expect(authorizations().map((query) => query.get('redirect_uri'))).toEqual([before, after]);
    expect(tokenRequests(rig.server, 'authorization_code').map((form) => form.get('redirect_uri'))).toEqual([
      before,
      after,
    ]);
    // What was granted to the first registration is renewed by that one.
    await expectCallWorks(pb, 'c');
  });

  test('goes on renewing what it was granted after our address has changed', async () => {
    const pb = await rig.start();
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    await pb.restart();
    rig.server.book.expireAccessTokens();
    await expectCallWorks(pb, 'c');
    expect(refreshes(rig.server)).toHaveLength(1);
    expect(registrations()).toHaveLength(1);
  });

  test('whose secret has run out is made anew', async () => {
    const pb = await rig.start();
    const inAnHour = Math.floor(rig.clock.now() / 1000) + 3600;
    rig.server.behaviour.registration.document = { client_secret_expires_at: inAnHour };
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.clock.advance(3_601_000);
    await logInAgain(pb, 'c');
    expect(registrations()).toHaveLength(2);
    await untilState(pb, 'c', 'connected');
  });
});

// pains 9
describe('a client that its server has forgotten', () => {
  test('ends the login when it is renewed, and one fresh registration brings it back', async () => {
    const pb = await rig.start();
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.purge();
    rig.server.book.expireAccessTokens();
    expect((await mcp(pb, 'c', rpc())).status).toBe(401);
    expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });
    expect(registrations()).toHaveLength(1);
    await logInAgain(pb, 'c');
    await untilState(pb, 'c', 'connected');
    expect(registrations()).toHaveLength(2);
    await expectCallWorks(pb, 'c');
    // Others use the fresh one.
    await connectByLogin(pb, 'd', rig.server.mcpUrl);
    expect(registrations()).toHaveLength(2);
  });

  test('between the login page and the token fails that login, and the next one registers anew', async () => {
    const pb = await rig.start();
    rig.server.behaviour.faults.token = [
      (response) => {
        rig.server.purge();
        return answer(401, { error: 'invalid_client' })(response);
      },
    ];
    const steps = await followLogin(await awaitLogin(pb, 'c', rig.server.mcpUrl));
    expect(steps.at(-1)?.text).toContain('The server refused');
    expect(registrations()).toHaveLength(1);
    await logInAgain(pb, 'c');
    await untilState(pb, 'c', 'connected');
    expect(registrations()).toHaveLength(2);
  });

  test('is told so on the provider’s own page; who tries again gets a fresh registration', async () => {
    const pb = await rig.start();
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.purge();
    const [stuck] = (await logInAgain(pb, 'c')).slice(-1);
    expect(stuck?.text).toContain('Unknown client');
    const steps = await logInAgain(pb, 'c');
    expect(steps.at(-1)?.text).toContain('All set');
    expect(registrations()).toHaveLength(2);
    await expectCallWorks(pb, 'c');
  });

  test('and was registered by hand keeps its logins, which work again once the tenant has mended that', async () => {
    const limits = {
      renewRetryMinMs: 50,
      renewRetryMaxMs: 50,
      healMinMs: 50,
      healMaxMs: 50,
      healSweepMs: 50,
    };
    const pb = await rig.start({ limits });
    preRegister(pb, 'by-hand', 'the-secret-of-the-app');
    const { issuer } = rig.server;
    await configure(pb, { issuer, clientId: 'by-hand', clientSecret: 'the-secret-of-the-app' });
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.purge();
    rig.server.book.expireAccessTokens();
    const { status, text } = await mcp(pb, 'c', rpc());
    expect(status).toBe(502);
    expect(text).toContain('invalid_client');
    await untilState(pb, 'c', 'error');
    preRegister(pb, 'by-hand', 'the-secret-of-the-app');
    await untilState(pb, 'c', 'connected');
    expect(registrations()).toEqual([]);
  });
});

// pains 14
describe('a server that registers no clients', () => {
  beforeEach(() => {
    rig.server.behaviour.registration.open = false;
  });

  test('gets a client that the tenant configures for its issuer', async () => {
    const pb = await rig.start();
    const setupUrl = await awaitLogin(pb, 'c', rig.server.mcpUrl);
    const refused = await followLogin(setupUrl);
    expect(refused.at(-1)?.text).toContain('/namespaces/default/oauth-clients');
    preRegister(pb, 'app', 'the-secret-of-the-app');
    const { issuer } = rig.server;
    const proof = { clientSecret: 'the-secret-of-the-app', tokenEndpointAuthMethod: 'client_secret_post' };
    await configure(pb, { issuer, clientId: 'app', scope: 'fixed', ...proof });
    // The page has shown other scopes: the person sees those of the client before anything is asked for.
    const shown = await followLogin(await setupUrlOf(pb, 'c'));
    expect(shown.at(-1)).toMatchObject({
      status: 422,
      text: expect.stringContaining('The login has changed'),
    });
    const steps = await followLogin(await setupUrlOf(pb, 'c'));
    expect(steps.at(-1)?.text).toContain('All set');
    expect(authorizations()[0]?.get('client_id')).toBe('app');
    expect(authorizations()[0]?.get('scope')).toBe('fixed');
    expect(rig.server.requestsTo('token').at(-1)?.form.get('client_secret')).toBe('the-secret-of-the-app');
    rig.server.book.expireAccessTokens();
    await expectCallWorks(pb, 'c');
  });

  test('gets the client of the MCP server before that of the issuer, each in its namespace', async () => {
    const pb = await rig.start();
    preRegister(pb, 'of-issuer');
    preRegister(pb, 'of-server');
    preRegister(pb, 'of-second');
    await pb.request('/namespaces/second', { method: 'PUT', json: {} });
    await configure(pb, { issuer: rig.server.issuer, clientId: 'of-issuer' });
    await configure(pb, { server: rig.server.mcpUrl, clientId: 'of-server' });
    await configure(pb, { issuer: rig.server.issuer, clientId: 'of-second' }, 'second');
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    const created = await read(
      await pb.request('/connect/second/c', { method: 'PUT', json: { mcpUrl: rig.server.mcpUrl } }),
    );
    await followLogin((created.json.status as { setupUrl: string }).setupUrl);
    expect(authorizations().map((query) => query.get('client_id'))).toEqual(['of-server', 'of-second']);
  });

  test('takes the new secret of a configured client for logins from before', async () => {
    const pb = await rig.start();
    const { issuer } = rig.server;
    preRegister(pb, 'app', 'the-old-secret-of-the-app');
    await configure(pb, { issuer, clientId: 'app', clientSecret: 'the-old-secret-of-the-app' });
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    preRegister(pb, 'app', 'the-new-secret-of-the-app');
    const { oauthClients } = (await (await pb.request('/namespaces/default/oauth-clients')).json()) as {
      oauthClients: { id: string }[];
    };
    await pb.request(`/namespaces/default/oauth-clients/${oauthClients[0]?.id}`, { method: 'DELETE' });
    await configure(pb, { issuer, clientId: 'app', clientSecret: 'the-new-secret-of-the-app' });
    rig.server.book.expireAccessTokens();
    await expectCallWorks(pb, 'c');
  });
});

// pains 14
describe('a server that refuses', () => {
  test('fields that it does not know is asked again without them', async () => {
    rig.server.behaviour.registration.knownFields = rfc7591Fields;
    const pb = await rig.start();
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    expect(registrations().map((body) => 'application_type' in body)).toEqual([true, false]);
    await expectCallWorks(pb, 'c');
  });

  test.each([400, 401, 403])(
    'every client with %d says so on the page, and takes a configured one',
    async (status) => {
      rig.server.behaviour.faults.registration = answer(status, { error: 'invalid_client_metadata' });
      const pb = await rig.start();
      const steps = await followLogin(await awaitLogin(pb, 'c', rig.server.mcpUrl));
      expect(steps.at(-1)?.status).toBe(422);
      expect(steps.at(-1)?.text).toContain(`refused to register a client (${status})`);
      preRegister(pb, 'app');
      await configure(pb, { issuer: rig.server.issuer, clientId: 'app' });
      await logInAgain(pb, 'c');
      await untilState(pb, 'c', 'connected');
    },
  );
});

describe('the client metadata document', () => {
  const env = { PATCHBAY_OAUTH_CLIENT_METADATA_URL: 'https://app.example/oauth-client.json' };
  beforeEach(() => {
    rig.server.behaviour.metadata.document = { client_id_metadata_document_supported: true };
  });

  test('is preferred to a registration where the server takes such, and refreshes with it', async () => {
    const pb = await rig.start({ env });
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.expireAccessTokens();
    await expectCallWorks(pb, 'c');
    expect(registrations()).toEqual([]);
    expect(authorizations()[0]?.get('client_id')).toBe(env.PATCHBAY_OAUTH_CLIENT_METADATA_URL);
    for (const { form, headers } of rig.server.requestsTo('token')) {
      expect(form.get('client_id')).toBe(env.PATCHBAY_OAUTH_CLIENT_METADATA_URL);
      expect(form.has('client_secret')).toBe(false);
      expect(headers.authorization).toBeUndefined();
    }
    const document = await pb.request('/.well-known/oauth-client', { key: null });
    expect(await document.json()).toMatchObject({
      client_id: env.PATCHBAY_OAUTH_CLIENT_METADATA_URL,
      redirect_uris: [callbackOf(pb)],
      grant_types: ['authorization_code', 'refresh_token'],
      token_endpoint_auth_method: 'none',
    });
  });

  test.each([
    ['the server does not say that it takes such', { client_id_metadata_document_supported: undefined }, env],
    ['there is none, as our address is not https', { client_id_metadata_document_supported: true }, {}],
  ])('is not used where %s', async (_, document, given) => {
    rig.server.behaviour.metadata.document = document;
    const pb = await rig.start({ env: given });
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    expect(registrations()).toHaveLength(1);
    expect(authorizations()[0]?.get('client_id')).toMatch(/^client-/);
  });

  test('gives way to a client that the tenant configured', async () => {
    const pb = await rig.start({ env });
    preRegister(pb, 'app');
    await configure(pb, { issuer: rig.server.issuer, clientId: 'app' });
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    expect(authorizations()[0]?.get('client_id')).toBe('app');
    expect((await put(pb, 'c', {})).json.status).toEqual({ state: 'connected' });
  });
});
