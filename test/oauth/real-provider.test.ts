import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { mcp, rest, stored, untilState } from '../fixtures/fault.ts';
import {
  type AuthorizationServer,
  type AuthorizationServerOptions,
  startAuthorizationServer,
} from '../fixtures/oauth/authorization-server.ts';
import { followLogin } from '../fixtures/oauth/browser.ts';
import {
  type GuardedMcpServer,
  type GuardedMcpServerOptions,
  startGuardedMcpServer,
} from '../fixtures/oauth/guarded-mcp-server.ts';
import { awaitLogin, logInAgain, messageOf, rpc, ShiftedClock, setupUrlOf } from '../fixtures/oauth/rig.ts';
import { type StartOptions, startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';

/** What the tests of one file start: stopped in the opposite order. */
const running: (() => Promise<void>)[] = [];
let clock: ShiftedClock;
beforeEach(() => {
  clock = new ShiftedClock();
});
afterEach(async () => {
  for (const stop of running.splice(0).reverse()) await stop();
});

interface Started {
  server: AuthorizationServer;
  guarded: GuardedMcpServer;
  pb: TestPatchbay;
}

async function start(
  options: AuthorizationServerOptions = {},
  guard: Partial<GuardedMcpServerOptions> = {},
  own: StartOptions = {},
): Promise<Started> {
  const server = await startAuthorizationServer(options);
  running.push(() => server.close());
  const challenge = { scope: 'read' };
  const guarded = await startGuardedMcpServer({
    authorizationServer: server,
    era: 'both',
    challenge,
    ...guard,
  });
  running.push(() => guarded.close());
  const pb = await startPatchbay({ clock, ...own });
  running.push(() => pb.stop());
  return { server, guarded, pb };
}

async function logIn({ pb, guarded }: Started, id = 'c'): Promise<void> {
  const steps = await followLogin(await awaitLogin(pb, id, guarded.url));
  expect(steps.at(-1)?.text).toContain('All set');
  await untilState(pb, id, 'connected');
}

/** The subject and scopes that the MCP server sees, through both doors of a connection. */
async function whoami(pb: TestPatchbay, id = 'c'): Promise<unknown> {
  const overMcp = await mcp(pb, id, rpc('tools/call', { name: 'whoami', arguments: {} }));
  expect(overMcp.status).toBe(200);
  const overRest = await pb.request(`/connect/default/${id}/.tools/whoami`, { method: 'POST', json: {} });
  expect(overRest.status).toBe(200);
  const results = [messageOf(overMcp).result, await overRest.json()] as { content: { text: string }[] }[];
  const [first, second] = results.map(({ content }) => JSON.parse(content[0]?.text ?? ''));
  expect(second).toEqual(first);
  return first;
}

const person = { subject: 'person-1', scopes: ['read'] };
const refreshes = ({ tokenRequests }: AuthorizationServer) =>
  tokenRequests.filter(({ grantType }) => grantType === 'refresh_token');

describe.each([
  ['legacy', true],
  ['legacy', false],
  ['both', true],
] as const)('the whole life of a connection to a real server (era %s, sessions: %s)', (era, sessions) => {
  test('from registration over renewal to a new login', async () => {
    const started = await start({}, { era, sessions });
    const { server, guarded, pb } = started;
    await logIn(started);
    expect(await whoami(pb)).toEqual(person);
    expect(server.registrations).toMatchObject([
      { client_name: 'Patchbay', grant_types: ['authorization_code', 'refresh_token'] },
    ]);
    expect(server.authorizations).toMatchObject([
      { code_challenge_method: 'S256', resource: guarded.url, scope: 'read' },
    ]);

    // Three expiries in a row, with rotation; the server would end the family at the first repetition.
    for (let round = 1; round <= 3; round++) {
      server.expireAccessTokens();
      const answers = await Promise.all(Array.from({ length: 20 }, () => rest(pb, 'c', { text: 'hi' })));
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
      expect(await whoami(pb)).toEqual(person);
      expect(refreshes(server)).toHaveLength(round);
    }
    expect(
      refreshes(server).every(({ status, resource }) => status === 200 && resource === guarded.url),
    ).toBe(true);
    expect(new Set(refreshes(server).map(({ refreshToken }) => refreshToken)).size).toBe(3);
    await pb.restart();
    expect(await whoami(pb)).toEqual(person);
    expect(refreshes(server)).toHaveLength(3);

    server.revokeAllGrants();
    expect((await mcp(pb, 'c', rpc())).status).toBe(401);
    expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });
    const calls = guarded.calls.length;
    expect((await mcp(pb, 'c', rpc())).status).toBe(401);
    expect(guarded.calls).toHaveLength(calls);

    const steps = await logInAgain(pb, 'c');
    expect(steps.at(-1)?.text).toContain('All set');
    expect(await whoami(pb)).toEqual(person);

    const { refreshToken } = refreshes(server).at(-1) ?? {};
    expect((await pb.request('/connect/default/c', { method: 'DELETE' })).status).toBe(200);
    expect(server.revocations).toHaveLength(1);
    expect(server.revocations[0]?.token).not.toBe(refreshToken);
  });
});

test('a modern server is called over REST, and its login is renewed', async () => {
  const started = await start({}, { era: 'modern' });
  const { server, pb } = started;
  await logIn(started);
  server.expireAccessTokens();
  const { status, text } = await rest(pb, 'c', { text: 'hi' });
  expect({ status, isEchoed: text.includes('hi') }).toEqual({ status: 200, isEchoed: true });
  expect(refreshes(server)).toHaveLength(1);
});

test('a token that was made out to another server is not taken, and not asked for', async () => {
  const started = await start();
  const { server, pb, guarded } = started;
  await logIn(started);
  const other = await startGuardedMcpServer({ authorizationServer: server, era: 'both' });
  running.push(() => other.close());
  await followLogin(await awaitLogin(pb, 'd', other.url));
  await untilState(pb, 'd', 'connected');
  expect(server.registrations).toHaveLength(1);
  const audiences = [guarded, other].map(({ calls }) =>
    calls.flatMap(({ token }) => (token ? [server.isValid(token)?.resource] : [])),
  );
  expect(new Set(audiences[0])).toEqual(new Set([guarded.url]));
  expect(new Set(audiences[1])).toEqual(new Set([other.url]));
});

test('a database restored from before a renewal ends the login, and a new one works', async () => {
  const started = await start();
  const { server, guarded, pb } = started;
  await logIn(started);
  const backup = await pb.store.db.selectFrom('grants').selectAll().executeTakeFirstOrThrow();
  server.expireAccessTokens();
  expect(await whoami(pb)).toEqual(person);
  const renewed = guarded.calls.at(-1)?.token ?? '';
  expect(server.isValid(renewed)).toBeDefined();
  await pb.store.db.updateTable('grants').set(backup).execute();
  await pb.restart();
  expect((await mcp(pb, 'c', rpc())).status).toBe(401);
  expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });
  // RFC 9700 §4.14.2: for the provider a refresh token used twice is a stolen one, and ends the family.
  expect(refreshes(server).map(({ error }) => error)).toEqual([undefined, 'invalid_grant']);
  expect(server.isValid(renewed)).toBeUndefined();
  await logInAgain(pb, 'c');
  expect(await whoami(pb)).toEqual(person);
});

test('a client ID metadata document is fetched by the provider, and spares the registration', async () => {
  const metadataUrl = 'https://patchbay.test/.well-known/oauth-client';
  let own: TestPatchbay | undefined;
  const fetchDocument = async (url: string) => {
    expect(String(url)).toBe(metadataUrl);
    return own ? await own.request('/.well-known/oauth-client', { key: null }) : Response.error();
  };
  const env = { PATCHBAY_OAUTH_CLIENT_METADATA_URL: metadataUrl };
  const started = await start({ fetchDocument }, {}, { env });
  const { server, pb } = started;
  own = pb;
  await logIn(started);
  server.expireAccessTokens();
  expect(await whoami(pb)).toEqual(person);
  expect(server.registrations).toEqual([]);
  expect(
    server.tokenRequests.map(({ clientId, status, hasClientSecretParam }) => ({
      clientId,
      status,
      hasClientSecretParam,
    })),
  ).toEqual(
    ['authorization_code', 'refresh_token'].map(() => ({
      clientId: metadataUrl,
      status: 200,
      hasClientSecretParam: false,
    })),
  );
});

test('a provider that gives refresh tokens for offline_access alone is asked for it', async () => {
  const started = await start({ refreshTokens: 'offline_access' });
  const { server, pb } = started;
  await logIn(started);
  expect(server.authorizations).toMatchObject([{ scope: 'read offline_access', prompt: 'consent' }]);
  server.expireAccessTokens();
  expect(await whoami(pb)).toMatchObject({ subject: 'person-1' });
  expect(refreshes(server)).toHaveLength(1);
});

test('a provider that gives none leaves a token that is used until it is refused', async () => {
  const started = await start({ refreshTokens: 'never' });
  const { server, pb } = started;
  await logIn(started);
  clock.advance(30 * 86_400_000);
  expect(await whoami(pb)).toEqual(person);
  server.expireAccessTokens();
  expect((await mcp(pb, 'c', rpc())).status).toBe(401);
  expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });
});

test('JWTs are as good as other tokens', async () => {
  const started = await start({ accessTokens: 'jwt' });
  const { server, pb } = started;
  await logIn(started);
  expect(await whoami(pb)).toEqual(person);
  server.expireAccessTokens();
  expect(await whoami(pb)).toEqual(person);
  expect(refreshes(server)).toHaveLength(1);
});

test('a person who declines is told so, and can try again from there', async () => {
  const { server, guarded, pb } = await start();
  const steps = await followLogin(await awaitLogin(pb, 'c', guarded.url), { decision: 'Decline' });
  expect(steps.at(-1)?.text).toContain('You declined');
  expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });
  expect(server.tokenRequests).toEqual([]);
  const again = await followLogin(await setupUrlOf(pb, 'c'));
  expect(again.at(-1)?.text).toContain('All set');
  expect(await whoami(pb)).toEqual(person);
});

test('more scopes are granted by a new login', async () => {
  const started = await start({}, { requiredScopes: { whoami: 'read admin' } });
  const { server, pb } = started;
  await logIn(started);
  expect((await mcp(pb, 'c', rpc('tools/call', { name: 'whoami', arguments: {} }))).status).toBe(401);
  await logInAgain(pb, 'c');
  expect(server.authorizations.map(({ scope }) => scope)).toEqual(['read', 'read admin']);
  expect(await whoami(pb)).toEqual({ subject: 'person-1', scopes: ['read', 'admin'] });
});

test('a provider that forgets its clients gets a new registration', async () => {
  const started = await start();
  const { server, pb } = started;
  await logIn(started);
  server.purgeClients();
  server.expireAccessTokens();
  expect((await mcp(pb, 'c', rpc())).status).toBe(401);
  await logInAgain(pb, 'c');
  expect(server.registrations).toHaveLength(2);
  expect(await whoami(pb)).toEqual(person);
});
