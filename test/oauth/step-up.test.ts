import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Answer, mcp, rest, stored, untilState } from '../fixtures/fault.ts';
import { openBrowser } from '../fixtures/oauth/browser.ts';
import {
  connectByLogin,
  expectCallWorks,
  logInAgain,
  type OAuthRig,
  refreshes,
  rpc,
  setUpOAuth,
  setupUrlOf,
} from '../fixtures/oauth/rig.ts';
import type { TestPatchbay } from '../fixtures/patchbay.ts';

let rig: OAuthRig;
let pb: TestPatchbay;
beforeEach(async () => {
  rig = await setUpOAuth();
  const { mcp: behaviour } = rig.server.behaviour;
  behaviour.challenge = { ...behaviour.challenge, scope: 'read' };
  behaviour.requiredScopes = { admin: 'admin' };
  pb = await rig.start();
  await connectByLogin(pb, 'c', rig.server.mcpUrl);
});
afterEach(() => rig.stop());

const callAdmin = (): Promise<Answer> =>
  mcp(pb, 'c', rpc('tools/call', { name: 'admin', arguments: { a: 'hi' } }));

/** The scopes that each login asked for. */
const scopes = () => rig.server.requestsTo('authorize').map(({ url }) => url.searchParams.get('scope'));

describe('a call that needs a scope which the login does not have', () => {
  test('is refused with a link to a login for the union of scopes, after which it works', async () => {
    await expectCallWorks(pb, 'c');
    const refused = await callAdmin();
    expect(refused.status).toBe(401);
    expect(refused.json).toMatchObject({ error: { code: -32001 } });
    expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });
    // No token can be renewed into more scopes.
    expect(refreshes(rig.server)).toEqual([]);

    const page = await openBrowser().get(await setupUrlOf(pb, 'c'));
    expect(page.text).toContain('<bdi>read</bdi>');
    expect(page.text).toContain('<bdi>admin</bdi>');
    expect(page.text).toContain('more than you allowed before');

    const steps = await logInAgain(pb, 'c');
    expect(steps.at(-1)?.text).toContain('All set');
    expect(scopes()).toEqual(['read', 'read admin']);
    expect((await callAdmin()).status).toBe(200);
    await expectCallWorks(pb, 'c');
    // Of both the server hears the scopes again when the token is renewed, or it may take the old ones.
    rig.server.book.expireAccessTokens();
    expect((await callAdmin()).status).toBe(200);
  });

  test('over REST is a 422 with the setup link', async () => {
    const call = () => pb.request('/connect/default/c/.tools/admin', { method: 'POST', json: {} });
    const refused = await call();
    expect(refused.status).toBe(422);
    expect(await refused.text()).toContain('/default/c/setup?ticket=');
    await logInAgain(pb, 'c');
    expect((await call()).status).toBe(200);
  });

  test('by 50 callers at the same time is one login', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, callAdmin));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 401));
    await logInAgain(pb, 'c');
    expect(scopes()).toEqual(['read', 'read admin']);
    expect((await callAdmin()).status).toBe(200);
  });

  test('calls nobody while the user has not acted, and after they have declined', async () => {
    await callAdmin();
    const before = rig.server.requests.length;
    for (let i = 0; i < 3; i++) expect((await callAdmin()).status).toBe(401);
    expect((await rest(pb, 'c')).status).toBe(422);
    expect(rig.server.requests).toHaveLength(before);

    rig.server.behaviour.authorize.error = { code: 'access_denied' };
    const steps = await logInAgain(pb, 'c');
    expect(steps.at(-1)?.text).toContain('You declined');
    expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });

    rig.server.behaviour.authorize.error = undefined;
    await logInAgain(pb, 'c');
    expect((await callAdmin()).status).toBe(200);
  });

  test('adds to what earlier step-ups asked for', async () => {
    rig.server.behaviour.mcp.requiredScopes = { admin: 'admin', echo: 'write' };
    await callAdmin();
    await logInAgain(pb, 'c');
    expect((await mcp(pb, 'c', rpc())).status).toBe(401);
    await logInAgain(pb, 'c');
    expect(scopes()).toEqual(['read', 'read admin', 'read admin write']);
    await expectCallWorks(pb, 'c');
    expect((await callAdmin()).status).toBe(200);
  });
});

describe('a server that refuses again after the login for more', () => {
  /** Calls and logs in, as often as a connection is sent to a login; how often that was. */
  async function loginsUntilFinal(): Promise<{ logins: number; last: Answer }> {
    for (let logins = 0; logins < 10; logins++) {
      const answer = await callAdmin();
      if (answer.status !== 401) return { logins, last: answer };
      await logInAgain(pb, 'c');
      await untilState(pb, 'c', 'connected');
    }
    throw new Error('it never stops sending the user to a login');
  }

  test('having granted less than it was asked for, sends the user back three times at most', async () => {
    rig.server.behaviour.token.scope = 'read';
    const { logins, last } = await loginsUntilFinal();
    expect(logins).toBe(3);
    expect(last.status).toBe(502);
    expect(last.text).toContain('refused the credentials (403)');
    await untilState(pb, 'c', 'error');
    // No login is asked for any more, and what needs none of it works on.
    expect(scopes()).toHaveLength(4);
    await expectCallWorks(pb, 'c');
    await untilState(pb, 'c', 'connected');
  });

  test('having granted everything, does not send the user back at all', async () => {
    await callAdmin();
    await logInAgain(pb, 'c');
    const { grantOf } = rig.server.behaviour.mcp;
    rig.server.behaviour.mcp.grantOf = (token) => {
      const grant = grantOf(token);
      return grant && { ...grant, scope: 'read' };
    };
    const { logins, last } = await loginsUntilFinal();
    expect(logins).toBe(0);
    expect(last.status).toBe(502);
    expect(last.text).toContain('refused the credentials (403)');
  });

  test('with ever other scopes, sends the user back three times at most', async () => {
    let n = 0;
    rig.server.behaviour.mcp.requiredScopes = new Proxy(
      {},
      { get: (_, name) => (name === 'admin' ? `scope-${n++}` : undefined) },
    );
    const { logins } = await loginsUntilFinal();
    expect(logins).toBe(3);
  });
});

test('a refusal with 403 that asks for no scope is no matter of a login', async () => {
  rig.server.behaviour.faults.mcp = (response) => {
    response.writeHead(403, { 'content-type': 'application/json' }).end('{"error":"forbidden"}');
  };
  const { status, text } = await callAdmin();
  expect(status).toBe(502);
  expect(text).toContain('refused the credentials (403)');
  await untilState(pb, 'c', 'error');
  expect(await pb.store.db.selectFrom('grants').select('version').execute()).toHaveLength(1);
});
