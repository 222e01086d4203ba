import { generateKeyPairSync } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { Tables } from '../../src/platform/store/schema.ts';
import { connect, mcp, read, rest } from '../fixtures/fault.ts';
import { startAuthorizationServer } from '../fixtures/oauth/authorization-server.ts';
import { followLogin, openBrowser } from '../fixtures/oauth/browser.ts';
import { answer, hang, html, oauthError, redirect, reset } from '../fixtures/oauth/faults.ts';
import { startGuardedMcpServer } from '../fixtures/oauth/guarded-mcp-server.ts';
import {
  awaitLogin,
  connectByLogin,
  expectCallWorks,
  type OAuthRig,
  rpc,
  setUpOAuth,
} from '../fixtures/oauth/rig.ts';
import type { TestPatchbay } from '../fixtures/patchbay.ts';

let rig: OAuthRig;
let pb: TestPatchbay;
beforeEach(async () => {
  rig = await setUpOAuth();
  pb = await rig.start();
});
afterEach(() => rig.stop());

const remove = async (id = 'c') => read(await pb.request(`/connect/default/${id}`, { method: 'DELETE' }));

/** Whether anything of the connection, its grant and its logins is left. */
async function expectGone(id = 'c'): Promise<void> {
  expect((await pb.request(`/connect/default/${id}`)).status).toBe(404);
  expect((await mcp(pb, id, rpc())).status).toBe(404);
  for (const table of ['connections', 'grants', 'logins'] satisfies (keyof Tables)[]) {
    expect(await pb.store.db.selectFrom(table).selectAll().execute()).toEqual([]);
  }
}

/** The access token that the connection calls with. */
async function tokenInUse(): Promise<string> {
  await expectCallWorks(pb, 'c');
  const header = rig.server.requestsTo('mcp').at(-1)?.headers.authorization;
  return header?.replace('Bearer ', '') as string;
}

function issued(kind: string): string[] {
  return [...rig.server.book.secrets].filter((secret) => secret.startsWith(kind));
}

const revocations = () => rig.server.requestsTo('revocation').map(({ form }) => Object.fromEntries(form));

describe('deleting a connection', () => {
  it('revokes its refresh token, with which the server ends the rest (RFC 7009)', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    const token = await tokenInUse();
    expect(await remove()).toMatchObject({ status: 200, json: { success: true } });
    const [refreshToken] = issued('refresh-');
    expect(revocations()).toMatchObject([{ token: refreshToken, token_type_hint: 'refresh_token' }]);
    expect(rig.server.book.grantOf(token)).toBeUndefined();
    await expectGone();
  });

  it('revokes the token that counts, after renewals', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.expireAccessTokens();
    await expectCallWorks(pb, 'c');
    await remove();
    expect(issued('refresh-').length).toBe(2);
    expect(revocations()[0]?.token).toBe(issued('refresh-')[1]);
  });

  it('revokes the access token where there is no other', async () => {
    rig.server.behaviour.token.refreshTokens = false;
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    const token = await tokenInUse();
    await remove();
    expect(revocations()).toMatchObject([{ token, token_type_hint: 'access_token' }]);
    expect(rig.server.book.grantOf(token)).toBeUndefined();
    await expectGone();
  });

  it.each(['none', 'client_secret_post', 'client_secret_basic'])(
    'says who it is, as at the token endpoint: %s',
    async (method) => {
      rig.server.behaviour.metadata.document.token_endpoint_auth_methods_supported = [method];
      await connectByLogin(pb, 'c', rig.server.mcpUrl);
      const token = await tokenInUse();
      await remove();
      const [request] = rig.server.requestsTo('revocation');
      const [secret] = issued('client-secret-');
      expect(request?.form.get('client_secret') ?? undefined).toBe(
        method === 'client_secret_post' ? secret : undefined,
      );
      expect(request?.headers.authorization?.startsWith('Basic ') ?? false).toBe(
        method === 'client_secret_basic',
      );
      expect(rig.server.book.grantOf(token)).toBeUndefined();
    },
  );

  it('revokes nothing where the server does not offer it', async () => {
    rig.server.behaviour.metadata.document.revocation_endpoint = undefined;
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    expect((await remove()).status).toBe(200);
    expect(revocations()).toEqual([]);
    await expectGone();
  });

  it('revokes nothing of a connection that never was logged in, and ends the login that has begun', async () => {
    const browser = openBrowser();
    await browser.submit(await browser.get(await awaitLogin(pb, 'c', rig.server.mcpUrl)));
    expect(await pb.store.db.selectFrom('logins').selectAll().execute()).toHaveLength(1);
    expect((await remove()).status).toBe(200);
    expect(revocations()).toEqual([]);
    await expectGone();
  });

  it('leaves the grants of other connections alone', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    await connectByLogin(pb, 'd', rig.server.mcpUrl);
    await remove('d');
    expect(revocations()).toHaveLength(1);
    await expectCallWorks(pb, 'c');
  });
});

describe('a login that comes too late', () => {
  it('has its tokens revoked when the connection was deleted while its code was exchanged', async () => {
    const setupUrl = await awaitLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.behaviour.token.afterGrant = async () => void (await remove());
    expect((await followLogin(setupUrl)).at(-1)?.status).toBe(410);
    expect(revocations()).toMatchObject([{ token: issued('refresh-')[0] }]);
    expect(rig.server.book.grantOf(issued('access-')[0] as string)).toBeUndefined();
    await expectGone();
  });

  it('revokes nothing: to the server its grant may be one with that of the login that was completed first', async () => {
    const setupUrl = await awaitLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.behaviour.token.afterGrant = async () => {
      rig.server.behaviour.token.afterGrant = undefined;
      await followLogin(setupUrl);
    };
    expect((await followLogin(setupUrl)).at(-1)?.status).toBe(410);
    expect(rig.server.requestsTo('revocation')).toEqual([]);
    expect(await tokenInUse()).toBe(issued('access-')[1]);
  });
});

describe('deleting a connection whose authorization server fails', () => {
  it.each([
    ['answers 500', answer(500)],
    ['refuses the client', oauthError('invalid_client', 401)],
    ['knows no such type', oauthError('unsupported_token_type')],
    ['answers a page', html(404)],
    ['redirects', redirect('/token')],
    ['breaks the connection off', reset],
  ])('deletes all the same, and logs no secret, when it %s', async (_, fault) => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.behaviour.faults.revocation = fault;
    expect((await remove()).status).toBe(200);
    expect(revocations()).toHaveLength(1);
    await expectGone();
    const warnings = pb.logs.filter((line) => line.includes('not revoked'));
    expect(warnings).toHaveLength(1);
    expect([...rig.server.book.secrets].filter((secret) => warnings[0]?.includes(secret))).toEqual([]);
  });

  it('deletes within four seconds when it hangs', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.behaviour.faults.revocation = hang;
    const start = performance.now();
    expect((await remove()).status).toBe(200);
    expect(performance.now() - start).toBeLessThan(4_000);
    await expectGone();
  });

  it('leaves nothing to be called while the server still hangs', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    const asked = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    rig.server.behaviour.faults.revocation = async (response) => {
      asked.resolve();
      await released.promise;
      response.writeHead(200).end();
    };
    const removing = remove();
    await asked.promise;
    await expectGone();
    released.resolve();
    expect((await removing).status).toBe(200);
  });

  it('deletes at once when the server is gone', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    await rig.server.close();
    const start = performance.now();
    expect((await remove()).status).toBe(200);
    expect(performance.now() - start).toBeLessThan(4_000);
    await expectGone();
  });
});

describe('deleting a connection at a real authorization server', () => {
  it('ends the tokens of a login', async () => {
    const server = await startAuthorizationServer();
    onTestFinished(() => server.close());
    const upstream = await startGuardedMcpServer({ authorizationServer: server, era: 'both' });
    onTestFinished(() => upstream.close());
    await connectByLogin(pb, 'c', upstream.url);
    expect((await rest(pb, 'c', { text: 'hi' })).status).toBe(200);
    const token = upstream.calls.at(-1)?.token as string;
    expect(server.isValid(token)).toBeDefined();

    expect((await remove()).status).toBe(200);
    expect(server.revocations).toHaveLength(1);
    expect(server.isValid(token)).toBeUndefined();
    await expectGone();
  });

  it('ends the token of a client that proves itself with a key', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const server = await startAuthorizationServer({
      clients: [
        {
          client_id: 'keyed',
          grant_types: ['client_credentials'],
          redirect_uris: [],
          response_types: [],
          token_endpoint_auth_method: 'private_key_jwt',
          jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256' }] },
        },
      ],
    });
    onTestFinished(() => server.close());
    const upstream = await startGuardedMcpServer({ authorizationServer: server, era: 'both' });
    onTestFinished(() => upstream.close());
    const client = {
      issuer: server.issuer,
      clientId: 'keyed',
      privateKey: privateKey.export({ format: 'jwk' }),
      grantType: 'client_credentials',
      scope: 'read',
    };
    await pb.request('/namespaces/default/oauth-clients', { method: 'POST', json: client });
    await connect(pb, 'c', upstream.url);
    const token = upstream.calls.at(-1)?.token as string;
    expect(server.isValid(token)).toBeDefined();

    expect((await remove()).status).toBe(200);
    expect(server.revocations).toHaveLength(1);
    expect(server.isValid(token)).toBeUndefined();
  });
});
