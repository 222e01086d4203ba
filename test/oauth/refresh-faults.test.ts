import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Lookup } from '../../src/platform/egress/dispatcher.ts';
import { mcp, untilState } from '../fixtures/fault.ts';
import {
  answer,
  type Fault,
  hang,
  html,
  huge,
  oauthError,
  redirect,
  reset,
} from '../fixtures/oauth/faults.ts';
import {
  connectByLogin,
  expectCallWorks,
  logInAgain,
  type OAuthRig,
  refreshes,
  rpc,
  setUpOAuth,
} from '../fixtures/oauth/rig.ts';
import type { TestPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';

/** So that a test need not wait: time limits, and backoff of renewals and of probes. */
const quick = {
  fetchMs: 500,
  renewRetryMinMs: 100,
  renewRetryMaxMs: 200,
  healMinMs: 50,
  healMaxMs: 100,
  healSweepMs: 50,
};

let rig: OAuthRig;
beforeEach(async () => {
  rig = await setUpOAuth();
});
afterEach(() => rig.stop());

const readRefreshToken = () => refreshes(rig.server).at(-1)?.get('refresh_token');

/** A login works, its access token has ended, and the connection has failed to renew it. */
async function failToRenew(pb: TestPatchbay, spoil: () => void): Promise<void> {
  await connectByLogin(pb, 'c', rig.server.mcpUrl);
  rig.server.book.expireAccessTokens();
  spoil();
  const { status, json } = await mcp(pb, 'c', rpc());
  expect(status).toBe(502);
  expect(json.error).toMatchObject({ message: expect.stringMatching(/authorization server|redirects/) });
}

// pains 3
describe('a renewal that fails for the moment', () => {
  const faults: Record<string, Fault> = {
    '500': answer(500, 'Internal Server Error'),
    '500 with an OAuth error that would be final': oauthError('invalid_grant', 500),
    '502 with a page': html(502),
    '429': answer(429, { error: 'slow_down' }, { 'retry-after': '1' }),
    '503 temporarily_unavailable': oauthError('temporarily_unavailable', 503),
    '400 temporarily_unavailable': oauthError('temporarily_unavailable'),
    '400 server_error': oauthError('server_error'),
    '400 with a page': html(400),
    '200 with a page': html(),
    '200 with an OAuth error': oauthError('temporarily_unavailable', 200),
    '200 with JSON that holds no token': answer(200, { ok: true }),
    '200 with a token that no header can carry': answer(200, {
      access_token: 'a\r\nb',
      token_type: 'Bearer',
    }),
    '404': answer(404, { error: 'not_found' }),
    'a redirect': redirect('http://127.0.0.1:1/elsewhere'),
    'no answer in time': hang,
    'a broken connection': reset,
    'an endless answer': huge(),
  };

  test.each(Object.keys(faults))('by %s leaves the login, and heals by itself', async (name) => {
    const pb = await rig.start({ limits: quick });
    await failToRenew(pb, () => {
      rig.server.behaviour.faults.token = faults[name] as Fault;
    });
    await untilState(pb, 'c', 'error');
    expect(await pb.store.db.selectFrom('grants').select('connection_uid').execute()).toHaveLength(1);
    // Tried again in the background, though nobody calls, and with the same refresh token.
    const sent = refreshes(rig.server).length;
    await until(() => refreshes(rig.server).length > sent);
    expect(new Set(refreshes(rig.server).map((form) => form.get('refresh_token'))).size).toBe(1);
    rig.server.heal();
    await untilState(pb, 'c', 'connected');
    await expectCallWorks(pb, 'c');
  });

  test('by a name that does not resolve leaves the login, and heals by itself', async () => {
    let isResolving = true;
    const lookup: Lookup = (host, answer) => {
      const gone = Object.assign(new Error(`getaddrinfo ENOTFOUND ${host}`), { code: 'ENOTFOUND' });
      if (isResolving) answer(null, [{ address: '127.0.0.1', family: 4 }]);
      else answer(gone, []);
    };
    const { port } = new URL(rig.server.issuer);
    const document = { token_endpoint: `http://tokens.localhost:${port}/token` };
    rig.server.behaviour.metadata.document = document;
    const pb = await rig.start({ limits: { ...quick, upstreamKeepAliveMs: 1 }, lookup });
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    await pb.restart();
    isResolving = false;
    rig.server.book.expireAccessTokens();
    const { status, json } = await mcp(pb, 'c', rpc());
    expect(status).toBe(502);
    expect(json.error).toMatchObject({ message: expect.stringContaining('no such host') });
    await untilState(pb, 'c', 'error');
    isResolving = true;
    await untilState(pb, 'c', 'connected');
    await expectCallWorks(pb, 'c');
  });

  test('is not repeated with every call, but backs off', async () => {
    const limits = { ...quick, renewRetryMinMs: 60_000, renewRetryMaxMs: 60_000 };
    const pb = await rig.start({ limits });
    await failToRenew(pb, () => {
      rig.server.behaviour.faults.token = answer(500);
    });
    const before = rig.server.requestsTo('token').length;
    for (let i = 0; i < 10; i++) expect((await mcp(pb, 'c', rpc())).status).toBe(502);
    expect(rig.server.requestsTo('token')).toHaveLength(before);
    rig.server.heal();
    rig.clock.advance(61_000);
    await expectCallWorks(pb, 'c');
  });

  test('is one for 50 calls at the same time, and none of them waits for ever', async () => {
    const pb = await rig.start({ limits: { ...quick, renewRetryMinMs: 60_000, renewRetryMaxMs: 60_000 } });
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.expireAccessTokens();
    rig.server.behaviour.faults.token = hang;
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => mcp(pb, 'c', rpc(undefined, undefined, i))),
    );
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 502));
    expect(refreshes(rig.server)).toHaveLength(1);
  });

  test('survives a restart of the server with its refresh token', async () => {
    const pb = await rig.start({ limits: quick });
    await failToRenew(pb, () => {
      rig.server.behaviour.faults.token = answer(500);
    });
    await untilState(pb, 'c', 'error');
    const token = readRefreshToken();
    await pb.restart();
    rig.server.heal();
    await untilState(pb, 'c', 'connected');
    expect(readRefreshToken()).toBe(token);
    await expectCallWorks(pb, 'c');
  });
});

// pains 6
describe('an answer that is lost after the server has rotated', () => {
  test('ends in a login by the user, since the server takes the old token for stolen', async () => {
    const pb = await rig.start({ limits: quick });
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.expireAccessTokens();
    rig.server.behaviour.token.afterGrant = reset;
    expect((await mcp(pb, 'c', rpc())).status).toBe(502);
    await untilState(pb, 'c', 'auth_required');
    rig.server.heal();
    await logInAgain(pb, 'c');
    await untilState(pb, 'c', 'connected');
    await expectCallWorks(pb, 'c');
  });

  test('costs nothing where the server does not rotate', async () => {
    const pb = await rig.start({ limits: quick });
    rig.server.behaviour.token.rotate = false;
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.expireAccessTokens();
    rig.server.behaviour.token.afterGrant = reset;
    expect((await mcp(pb, 'c', rpc())).status).toBe(502);
    await untilState(pb, 'c', 'error');
    rig.server.behaviour.token.afterGrant = undefined;
    await untilState(pb, 'c', 'connected');
    await expectCallWorks(pb, 'c');
  });
});

// pains 5
test('a refusal that comes late does not end the login that came meanwhile', async () => {
  const pb = await rig.start();
  await connectByLogin(pb, 'c', rig.server.mcpUrl);
  rig.server.book.expireAccessTokens();
  const late = Promise.withResolvers<void>();
  rig.server.behaviour.faults.token = [
    async (response) => {
      await late.promise;
      await oauthError('invalid_grant')(response);
    },
  ];
  const call = mcp(pb, 'c', rpc());
  await until(() => refreshes(rig.server).length === 1);
  await logInAgain(pb, 'c');
  late.resolve();
  expect((await call).status).toBe(200);
  await untilState(pb, 'c', 'connected');
  await expectCallWorks(pb, 'c');
  expect(refreshes(rig.server)).toHaveLength(1);
});
