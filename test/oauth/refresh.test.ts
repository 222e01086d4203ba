import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { mcp, put, rest, stored, untilState } from '../fixtures/fault.ts';
import { answer, oauthError } from '../fixtures/oauth/faults.ts';
import {
  connectByLogin,
  expectCallWorks,
  expectEchoed,
  logInAgain,
  type OAuthRig,
  refreshes,
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

/** Requests to the MCP endpoint from now on, as the tokens that they carried. */
function watchTokens(): () => (string | undefined)[] {
  const before = rig.server.requestsTo('mcp').length;
  return () =>
    rig.server
      .requestsTo('mcp')
      .slice(before)
      .map(({ headers }) => headers.authorization?.replace('Bearer ', ''));
}

describe('an access token that its server no longer takes', () => {
  // pains 1
  test('is renewed in the middle of a call, which is repeated once and succeeds', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    const tokens = watchTokens();
    await expectCallWorks(pb, 'c');
    rig.server.book.expireAccessTokens();
    await expectCallWorks(pb, 'c');
    expect(refreshes(rig.server)).toHaveLength(1);
    const [old, again, fresh, ...more] = tokens();
    expect(again).toBe(old);
    expect(fresh).not.toBe(old);
    expect(more).toEqual([]);
    expect((await stored(pb, 'c')).state).toBe('connected');
  });

  // pains 1
  test('is renewed in the middle of a REST call, which succeeds', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.expireAccessTokens();
    const { status, text } = await rest(pb, 'c', { text: 'hi' });
    expect(status).toBe(200);
    expect(text).toContain('hi');
    expect(refreshes(rig.server)).toHaveLength(1);
    expect((await stored(pb, 'c')).state).toBe('connected');
  });

  // pains 6
  test('is renewed three times in a row, each time with the refresh token that came last', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    for (let round = 1; round <= 3; round++) {
      rig.server.book.expireAccessTokens();
      await expectCallWorks(pb, 'c');
      expect(refreshes(rig.server)).toHaveLength(round);
    }
    const sent = refreshes(rig.server).map((form) => form.get('refresh_token'));
    expect(new Set(sent).size).toBe(3);
    // The fourth, after a restart: it is the stored one that counts.
    await pb.restart();
    rig.server.book.expireAccessTokens();
    await expectCallWorks(pb, 'c');
    expect(refreshes(rig.server)).toHaveLength(4);
  });

  test('is renewed with the same refresh token for ever where the server does not rotate', async () => {
    rig.server.behaviour.token.rotate = false;
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    for (let round = 1; round <= 3; round++) {
      rig.server.book.expireAccessTokens();
      await expectCallWorks(pb, 'c');
    }
    expect(new Set(refreshes(rig.server).map((form) => form.get('refresh_token'))).size).toBe(1);
  });

  // pains 4
  test('is renewed once for 50 calls at the same time, which all succeed', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.expireAccessTokens();
    const calls = Array.from({ length: 50 }, (_, i) =>
      i % 2 === 0 ? mcp(pb, 'c', rpc(undefined, undefined, i)) : rest(pb, 'c', { text: 'hi' }),
    );
    const answers = await Promise.all(calls);
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    expect(refreshes(rig.server)).toHaveLength(1);
    expect((await stored(pb, 'c')).state).toBe('connected');
  });

  test('is renewed once when slow calls bring back the refusal of the old one late', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.expireAccessTokens();
    const late = Promise.withResolvers<void>();
    rig.server.behaviour.faults.mcp = [
      async (response) => {
        await late.promise;
        await answer(401, {}, { 'www-authenticate': 'Bearer error="invalid_token"' })(response);
      },
    ];
    const slow = mcp(pb, 'c', rpc());
    await expect.poll(() => rig.server.behaviour.faults.mcp).toEqual([]);
    await expectCallWorks(pb, 'c');
    late.resolve();
    expectEchoed(await slow);
    expect(refreshes(rig.server)).toHaveLength(1);
  });

  test('is not held against the new one, where both wait for the same session', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    await pb.restart();
    rig.server.book.expireAccessTokens();
    const late = Promise.withResolvers<void>();
    rig.server.behaviour.faults.mcp = [
      async (response) => {
        await late.promise;
        await answer(401, {}, { 'www-authenticate': 'Bearer error="invalid_token"' })(response);
      },
    ];
    // Opens a legacy session; over REST the same server needs none.
    const first = mcp(pb, 'c', rpc());
    await expect.poll(() => rig.server.behaviour.faults.mcp).toEqual([]);
    expect((await rest(pb, 'c', { text: 'hi' })).status).toBe(200);
    const initialized = () =>
      rig.server.requestsTo('mcp').filter(({ json }) => json?.method === 'initialize').length;
    const before = initialized();
    const second = mcp(pb, 'c', rpc());
    await expect.poll(initialized).toBe(before + 1);
    late.resolve();
    expectEchoed(await first);
    expectEchoed(await second);
    expect(refreshes(rig.server)).toHaveLength(1);
  });
});

describe('a login that is over', () => {
  /** Nobody calls the upstream or its authorization server any more, whatever the caller asks. */
  async function expectSilence(): Promise<void> {
    const before = rig.server.requests.length;
    for (let i = 0; i < 5; i++) {
      const answer = await mcp(pb, 'c', rpc());
      expect(answer.status).toBe(401);
      expect(answer.json).toMatchObject({ error: { code: -32001 } });
      expect((await rest(pb, 'c')).status).toBe(422);
    }
    expect(rig.server.requests.slice(before)).toEqual([]);
  }

  // pains 2
  test('makes the connection wait for its user, and calls nobody again', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.revokeAllGrants();
    const answer = await mcp(pb, 'c', rpc());
    expect(answer.status).toBe(401);
    expect(answer.json).toMatchObject({
      error: {
        code: -32001,
        data: { authorizationUrl: expect.stringContaining('/default/c/setup?ticket=') },
      },
    });
    expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });
    expect(refreshes(rig.server)).toHaveLength(1);
    await expectSilence();
    expect(await pb.store.db.selectFrom('grants').selectAll().execute()).toEqual([]);
  });

  // pains 4, 5
  test('is noticed once by 50 calls at the same time', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.revokeAllGrants();
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => mcp(pb, 'c', rpc(undefined, undefined, i))),
    );
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 401));
    expect(refreshes(rig.server)).toHaveLength(1);
    expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });
  });

  // pains 2
  test('includes one whose renewed tokens are refused as well: that is no loop', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.behaviour.mcp.grantOf = () => undefined;
    const tokens = watchTokens();
    expect((await mcp(pb, 'c', rpc())).status).toBe(401);
    expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });
    expect(refreshes(rig.server)).toHaveLength(1);
    expect(tokens().length).toBeLessThanOrEqual(4);
    await expectSilence();
  });

  test.each([
    ['invalid_grant', 400],
    // What GitHub's token endpoint does.
    ['invalid_grant', 200],
    ['invalid_grant', 401],
    ['invalid_client', 401],
    ['unauthorized_client', 400],
  ] as const)(
    'is what the server says with %s (%d), and a new login on the same connection works',
    async (error, status) => {
      await connectByLogin(pb, 'c', rig.server.mcpUrl);
      rig.server.book.expireAccessTokens();
      rig.server.behaviour.faults.token = [oauthError(error, status)];
      expect((await mcp(pb, 'c', rpc())).status).toBe(401);
      expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });
      await expectSilence();
      await logInAgain(pb, 'c');
      await untilState(pb, 'c', 'connected');
      await expectCallWorks(pb, 'c');
    },
  );

  test('is noticed by a PUT too', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.revokeAllGrants();
    const { status, json } = await put(pb, 'c', { metadata: { seen: 1 } });
    expect(status).toBe(200);
    expect(json).toMatchObject({ status: { state: 'auth_required' }, metadata: { seen: 1 } });
    await expectSilence();
  });
});

describe('a token that says when it ends', () => {
  const hour = 3_600_000;

  test('is renewed ahead of that, so that no call is refused', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.clock.advance(hour - 70_000);
    await expectCallWorks(pb, 'c');
    expect(refreshes(rig.server)).toHaveLength(0);
    rig.clock.advance(20_000);
    const tokens = watchTokens();
    await expectCallWorks(pb, 'c');
    expect(refreshes(rig.server)).toHaveLength(1);
    expect(tokens()).toHaveLength(1);
    // The new one has its own hour.
    rig.clock.advance(hour - 70_000);
    await expectCallWorks(pb, 'c');
    expect(refreshes(rig.server)).toHaveLength(1);
  });

  test('is renewed once ahead of that for 50 calls at the same time', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.clock.advance(hour - 30_000);
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => mcp(pb, 'c', rpc(undefined, undefined, i))),
    );
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    expect(refreshes(rig.server)).toHaveLength(1);
  });

  test('serves on when it cannot be renewed ahead, and the server is not asked with every call', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.behaviour.faults.token = oauthError('temporarily_unavailable', 503);
    rig.clock.advance(hour - 50_000);
    for (let i = 0; i < 5; i++) await expectCallWorks(pb, 'c');
    expect(refreshes(rig.server)).toHaveLength(1);
    expect((await stored(pb, 'c')).state).toBe('connected');
    rig.server.heal();
    rig.clock.advance(10_000);
    await expectCallWorks(pb, 'c');
    expect(refreshes(rig.server)).toHaveLength(2);
  });

  test('of a minute is not renewed with every call', async () => {
    rig.server.behaviour.token.expiresInSeconds = 60;
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    for (let i = 0; i < 3; i++) await expectCallWorks(pb, 'c');
    expect(refreshes(rig.server)).toHaveLength(0);
    rig.clock.advance(50_000);
    await expectCallWorks(pb, 'c');
    expect(refreshes(rig.server)).toHaveLength(1);
  });

  // pains 11
  test('is used after that as long as its server takes it, where nothing can renew it', async () => {
    rig.server.behaviour.token.refreshTokens = false;
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.clock.advance(60 * 24 * hour);
    await expectCallWorks(pb, 'c');
    rig.server.book.expireAccessTokens();
    expect((await mcp(pb, 'c', rpc())).status).toBe(401);
    expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });
    expect(refreshes(rig.server)).toEqual([]);
  });
});

describe('a token answer', () => {
  // pains 11
  test('without end and refresh token gives a token that is used until a 401', async () => {
    rig.server.behaviour.token.refreshTokens = false;
    rig.server.behaviour.token.expiresInSeconds = undefined;
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    for (const days of [1, 60, 3650]) {
      rig.clock.advance(days * 86_400_000);
      await expectCallWorks(pb, 'c');
    }
    expect(rig.server.requestsTo('token')).toHaveLength(1);
    rig.server.book.expireAccessTokens();
    expect((await mcp(pb, 'c', rpc())).status).toBe(401);
    expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });
  });

  test('without end, but with a refresh token, is renewed after a 401', async () => {
    rig.server.behaviour.token.expiresInSeconds = undefined;
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.clock.advance(365 * 86_400_000);
    await expectCallWorks(pb, 'c');
    expect(refreshes(rig.server)).toHaveLength(0);
    rig.server.book.expireAccessTokens();
    await expectCallWorks(pb, 'c');
    expect(refreshes(rig.server)).toHaveLength(1);
  });

  test.each([0, -1, 1e300])('that lives for %d seconds, as it says, works until a 401', async (seconds) => {
    rig.server.behaviour.token.expiresInSeconds = seconds;
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    for (let i = 0; i < 3; i++) await expectCallWorks(pb, 'c');
    expect(refreshes(rig.server)).toHaveLength(0);
  });
});

describe('a refresh request', () => {
  // pains 7
  test('of a public client carries no client_secret, not even an empty one', async () => {
    rig.server.behaviour.metadata.document = { token_endpoint_auth_methods_supported: ['none'] };
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.expireAccessTokens();
    await expectCallWorks(pb, 'c');
    const [code, refresh] = rig.server.requestsTo('token');
    for (const request of [code, refresh]) {
      expect(request?.form.get('client_id')).toMatch(/^client-/);
      expect(request?.form.has('client_secret')).toBe(false);
      expect(request?.headers.authorization).toBeUndefined();
    }
  });

  test('of a registered client with a secret proves that, and names the resource', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.expireAccessTokens();
    await expectCallWorks(pb, 'c');
    const request = rig.server.requestsTo('token').at(-1);
    expect(request?.headers.authorization).toMatch(/^Basic /);
    expect(request?.form.has('client_secret')).toBe(false);
    expect(request?.form.get('resource')).toBe(rig.server.mcpUrl);
  });
});
