import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connect, mcp, put, read, rest, stored, untilState } from '../fixtures/fault.ts';
import { openBrowser } from '../fixtures/oauth/browser.ts';
import { answer } from '../fixtures/oauth/faults.ts';
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

const more = { name: 'Mine', metadata: { user: 'u-1' }, headers: { 'x-tenant': 'kept' } };

let rig: OAuthRig;
let pb: TestPatchbay;
beforeEach(async () => {
  rig = await setUpOAuth();
  pb = await rig.start();
});
afterEach(() => rig.stop());

const tokenOf = (call: (typeof rig.server.requests)[0] | undefined) =>
  call?.headers.authorization?.replace('Bearer ', '');
const lastToken = () => tokenOf(rig.server.requestsTo('mcp').at(-1));

async function record(id = 'c'): Promise<Record<string, unknown>> {
  return (await read(await pb.request(`/connect/default/${id}`))).json;
}

// pains 12
describe('a new login', () => {
  test('of a connection that works keeps everything but its tokens, and it works meanwhile', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl, more);
    await expectCallWorks(pb, 'c');
    const before = await record();
    const old = lastToken();

    const browser = openBrowser();
    const page = await browser.get(await setupUrlOf(pb, 'c'));
    expect(page.text).toContain('Log in again');
    await expectCallWorks(pb, 'c');
    const provider = await browser.follow(await browser.submit(page));
    await expectCallWorks(pb, 'c');
    expect(lastToken()).toBe(old);
    expect(await stored(pb, 'c')).toEqual({ state: 'connected' });

    expect((await browser.follow(provider)).text).toContain('All set');
    await expectCallWorks(pb, 'c');
    expect(lastToken()).not.toBe(old);
    expect(await record()).toEqual(before);
    expect(rig.server.requestsTo('mcp').at(-1)?.headers['x-tenant']).toBe('kept');
  });

  test('that the person declines, or never finishes, leaves the old one alone', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    await expectCallWorks(pb, 'c');
    const old = lastToken();
    const browser = openBrowser();
    await browser.submit(await browser.get(await setupUrlOf(pb, 'c')));
    rig.server.behaviour.authorize.error = { code: 'access_denied' };
    expect((await logInAgain(pb, 'c')).at(-1)?.text).toContain('You declined');
    rig.server.behaviour.authorize.error = undefined;
    rig.server.behaviour.faults.token = answer(500);
    expect((await logInAgain(pb, 'c')).at(-1)?.text).toContain('did not work');
    rig.server.heal();
    await expectCallWorks(pb, 'c');
    expect(lastToken()).toBe(old);
    rig.server.book.expireAccessTokens();
    await expectCallWorks(pb, 'c');
    expect(refreshes(rig.server)).toHaveLength(1);
  });

  test('after the old one has ended brings the connection back, with its own refresh token', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl, more);
    rig.server.book.revokeAllGrants();
    expect((await mcp(pb, 'c', rpc())).status).toBe(401);
    await logInAgain(pb, 'c');
    expect(await record()).toMatchObject({
      connectionId: 'c',
      name: 'Mine',
      metadata: { user: 'u-1' },
      status: { state: 'connected' },
    });
    for (let i = 0; i < 3; i++) {
      rig.server.book.expireAccessTokens();
      await expectCallWorks(pb, 'c');
      expect((await rest(pb, 'c', { text: 'hi' })).status).toBe(200);
    }
    expect(refreshes(rig.server)).toHaveLength(4);
  });

  test('works again and again, each time the old one has ended', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    for (let i = 0; i < 3; i++) {
      rig.server.book.revokeAllGrants();
      expect((await mcp(pb, 'c', rpc())).status).toBe(401);
      const { json } = await mcp(pb, 'c', rpc());
      const { data } = json.error as { data: { authorizationUrl: string } };
      const browser = openBrowser();
      const provider = await browser.follow(await browser.submit(await browser.get(data.authorizationUrl)));
      expect((await browser.follow(provider)).text).toContain('All set');
      await expectCallWorks(pb, 'c');
    }
    expect(await pb.store.db.selectFrom('grants').select('version').execute()).toHaveLength(1);
  });

  test('brings calls under way to no harm: what the old token hears does not count', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    const late = Promise.withResolvers<void>();
    rig.server.behaviour.faults.mcp = [
      async (response) => {
        await late.promise;
        await answer(401, {}, { 'www-authenticate': 'Bearer error="invalid_token"' })(response);
      },
    ];
    const slow = mcp(pb, 'c', rpc());
    await expect.poll(() => rig.server.behaviour.faults.mcp).toEqual([]);
    await logInAgain(pb, 'c');
    late.resolve();
    expect((await slow).status).toBe(200);
    expect(await stored(pb, 'c')).toEqual({ state: 'connected' });
    expect(refreshes(rig.server)).toEqual([]);
  });

  test('that is answered while the upstream is down is kept, and used when that is back', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.revokeAllGrants();
    await mcp(pb, 'c', rpc());
    rig.server.behaviour.faults.mcp = answer(503);
    const steps = await logInAgain(pb, 'c');
    expect(steps.at(-1)?.text).toContain('Saved, but the server does not work yet');
    expect((await stored(pb, 'c')).state).toBe('error');
    rig.server.heal();
    await untilState(pb, 'c', 'connected');
    await expectCallWorks(pb, 'c');
    expect(refreshes(rig.server)).toHaveLength(1);
  });
});

describe('a setup link from .setup', () => {
  test('is a read-only page for a connection that needs nothing', async () => {
    rig.server.behaviour.mcp.openMethods = ['server/discover', 'initialize', 'tools/list', 'tools/call'];
    await connect(pb, 'open', rig.server.mcpUrl);
    const page = await openBrowser().get(await setupUrlOf(pb, 'open'));
    expect(page.status).toBe(200);
    expect(page.text).not.toContain('<form');
  });

  test('asks for connections:write, and for a connection that is there', async () => {
    await put(pb, 'c', { mcpUrl: rig.server.mcpUrl });
    const path = '/connect/default/c/.setup';
    expect((await pb.request(path, { method: 'POST', key: null })).status).toBe(401);
    expect((await pb.request(path, { method: 'POST', key: 'wrong-key-000000' })).status).toBe(401);
    const other = await pb.store.otherOrganization('others-own');
    expect((await pb.request(path, { method: 'POST', key: other.key })).status).toBe(404);
    expect((await pb.request('/connect/default/none/.setup', { method: 'POST' })).status).toBe(404);
    expect((await pb.request('/default/c/.setup', { method: 'POST' })).status).toBe(200);
  });
});
