import { generateKeyPairSync } from 'node:crypto';
import type { ClientMetadata } from 'oidc-provider';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Answer, mcp, put, stored, untilState } from '../fixtures/fault.ts';
import {
  type AuthorizationServer,
  type AuthorizationServerOptions,
  startAuthorizationServer,
} from '../fixtures/oauth/authorization-server.ts';
import { answer, oauthError } from '../fixtures/oauth/faults.ts';
import { type GuardedMcpServer, startGuardedMcpServer } from '../fixtures/oauth/guarded-mcp-server.ts';
import {
  expectCallWorks,
  messageOf,
  type OAuthRig,
  rpc,
  setUpOAuth,
  tokenRequests,
} from '../fixtures/oauth/rig.ts';
import type { TestPatchbay } from '../fixtures/patchbay.ts';

const grantType = 'client_credentials';
const clientId = 'machine';
const clientSecret = 'the-secret-of-the-machine';

let rig: OAuthRig;
const servers: { close(): Promise<void> }[] = [];
beforeEach(async () => {
  rig = await setUpOAuth();
});
afterEach(async () => {
  for (const server of servers.splice(0).reverse()) await server.close();
  await rig.stop();
});

async function configure(pb: TestPatchbay, client: Record<string, unknown>): Promise<void> {
  const json = { clientId, grantType, ...client };
  const added = await pb.request('/namespaces/default/oauth-clients', { method: 'POST', json });
  expect(added.status).toBe(201);
}

async function expectConnected(answered: Answer | Promise<Answer>, status: number): Promise<void> {
  const { status: given, json } = await answered;
  expect({ status: given, state: json.status }).toEqual({ status, state: { state: 'connected' } });
}

describe('a client of its own at a real authorization server', () => {
  const machine: ClientMetadata = {
    client_id: clientId,
    grant_types: [grantType],
    redirect_uris: [],
    response_types: [],
  };

  async function startReal(
    client: Record<string, unknown>,
    options: AuthorizationServerOptions = {},
  ): Promise<{ server: AuthorizationServer; guarded: GuardedMcpServer }> {
    const clients = [{ ...machine, ...client }];
    const server = await startAuthorizationServer({ clients, registration: false, ...options });
    servers.push(server);
    const guarded = await startGuardedMcpServer({ authorizationServer: server, era: 'both' });
    servers.push(guarded);
    return { server, guarded };
  }

  const whoami = async (pb: TestPatchbay) => {
    const { result } = messageOf(await mcp(pb, 'c', rpc('tools/call', { name: 'whoami', arguments: {} })));
    return JSON.parse((result as { content: { text: string }[] }).content[0]?.text ?? '');
  };

  test.each(['client_secret_basic', 'client_secret_post'])(
    'proves itself with %s, and needs no person',
    async (method) => {
      const secret = { client_secret: clientSecret, token_endpoint_auth_method: method };
      const { server, guarded } = await startReal(secret);
      const pb = await rig.start();
      await configure(pb, {
        issuer: server.issuer,
        clientSecret,
        tokenEndpointAuthMethod: method,
        scope: 'read write',
      });
      await expectConnected(put(pb, 'c', { mcpUrl: guarded.url }), 201);
      expect(await whoami(pb)).toEqual({ subject: clientId, scopes: ['read', 'write'] });
      expect(server.tokenRequests).toMatchObject([
        {
          grantType,
          clientId,
          resource: guarded.url,
          scope: 'read write',
          hasClientSecretParam: method === 'client_secret_post',
          status: 200,
        },
      ]);
    },
  );

  test.each([
    ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    ['RS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
    ['EdDSA', generateKeyPairSync('ed25519')],
  ] as const)('proves itself with a key of its own, by %s', async (alg, { publicKey, privateKey }) => {
    const { server, guarded } = await startReal({
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: alg,
      jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), use: 'sig' }] },
    });
    const pb = await rig.start();
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
    await configure(pb, { server: guarded.url, privateKey: key, scope: 'read' });
    await expectConnected(put(pb, 'c', { mcpUrl: guarded.url }), 201);
    expect(await whoami(pb)).toEqual({ subject: clientId, scopes: ['read'] });
    server.expireAccessTokens();
    // An assertion counts once (RFC 7523 §3): the second is another.
    expect(await whoami(pb)).toEqual({ subject: clientId, scopes: ['read'] });
    expect(server.tokenRequests.map(({ status }) => status)).toEqual([200, 200]);
  });
});

describe('a client of its own', () => {
  let pb: TestPatchbay;
  const requests = () => tokenRequests(rig.server, grantType);
  const book = (secret = clientSecret) =>
    rig.server.book.clients.set(clientId, { client_id: clientId, client_secret: secret, redirect_uris: [] });

  beforeEach(async () => {
    pb = await rig.start({
      limits: { renewRetryMinMs: 50, renewRetryMaxMs: 50, healMinMs: 50, healMaxMs: 50, healSweepMs: 50 },
    });
    book();
    await configure(pb, { issuer: rig.server.issuer, clientSecret, scope: 'read' });
  });

  test('gets a new token when the old one has ended, once for 50 calls', async () => {
    await expectConnected(put(pb, 'c', { mcpUrl: rig.server.mcpUrl }), 201);
    rig.server.book.expireAccessTokens();
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => mcp(pb, 'c', rpc(undefined, undefined, i))),
    );
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    expect(requests()).toHaveLength(2);
    expect(requests().map((form) => form.get('scope'))).toEqual(['read', 'read']);
    // And ahead of its end, as any other.
    rig.clock.advance(3_600_000 - 30_000);
    await expectCallWorks(pb, 'c');
    expect(requests()).toHaveLength(3);
  });

  test('keeps its connection while the server fails, and heals by itself', async () => {
    await expectConnected(put(pb, 'c', { mcpUrl: rig.server.mcpUrl }), 201);
    rig.server.book.expireAccessTokens();
    rig.server.behaviour.faults.token = oauthError('temporarily_unavailable', 503);
    expect((await mcp(pb, 'c', rpc())).status).toBe(502);
    await untilState(pb, 'c', 'error');
    rig.server.heal();
    await untilState(pb, 'c', 'connected');
    await expectCallWorks(pb, 'c');
  });

  test('heals a connection that was made while its server failed', async () => {
    rig.server.behaviour.faults.token = answer(500);
    const { json } = await put(pb, 'c', { mcpUrl: rig.server.mcpUrl });
    expect(json.status).toMatchObject({ state: 'error' });
    rig.server.heal();
    await untilState(pb, 'c', 'connected');
    await expectCallWorks(pb, 'c');
  });

  test('that is refused says so, and sends no person to a login', async () => {
    book('another-secret-than-was-configured');
    const { json } = await put(pb, 'c', { mcpUrl: rig.server.mcpUrl });
    expect(json.status).toEqual({ state: 'error', message: expect.stringContaining('invalid_client') });
    expect((await mcp(pb, 'c', rpc())).status).toBe(502);
    // Set right at the provider, it works without anybody's help.
    book();
    await untilState(pb, 'c', 'connected');
    await expectCallWorks(pb, 'c');
  });

  test('whose fresh tokens are refused does not go in circles', async () => {
    await expectConnected(put(pb, 'c', { mcpUrl: rig.server.mcpUrl }), 201);
    rig.server.behaviour.mcp.grantOf = () => undefined;
    const before = rig.server.requests.length;
    const { status, text } = await mcp(pb, 'c', rpc());
    expect(status).toBe(502);
    expect(text).toContain('refused the credentials (401)');
    expect(rig.server.requests.length - before).toBeLessThan(10);
    await untilState(pb, 'c', 'error');
    rig.server.behaviour.mcp.grantOf = (token) => rig.server.book.grantOf(token);
    await untilState(pb, 'c', 'connected');
  });

  test('takes over a connection that waits for its user', async () => {
    await pb.store.db.deleteFrom('oauth_clients').execute();
    await put(pb, 'c', { mcpUrl: rig.server.mcpUrl });
    expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });
    await configure(pb, { issuer: rig.server.issuer, clientSecret });
    await expectConnected(put(pb, 'c', {}), 200);
    await expectCallWorks(pb, 'c');
  });

  test('is found after a restart with its token, and asks for none', async () => {
    await expectConnected(put(pb, 'c', { mcpUrl: rig.server.mcpUrl }), 201);
    expect(requests()).toHaveLength(1);
    await pb.restart();
    await expectCallWorks(pb, 'c');
    expect(requests()).toHaveLength(1);
  });
});
