import { afterEach, beforeEach, expect, test } from 'vitest';
import { read, stored } from '../fixtures/fault.ts';
import {
  connectByLogin,
  expectEchoed,
  type OAuthRig,
  refreshes,
  rpc,
  setUpOAuth,
} from '../fixtures/oauth/rig.ts';
import type { TestPatchbay } from '../fixtures/patchbay.ts';

/** The endpoint of a namespace keeps the credentials of its connections as their own endpoints do. */
let rig: OAuthRig;
let pb: TestPatchbay;
beforeEach(async () => {
  rig = await setUpOAuth();
  const { mcp } = rig.server.behaviour;
  mcp.challenge = { ...mcp.challenge, scope: 'read' };
  mcp.requiredScopes = { admin: 'admin' };
  pb = await rig.start();
  await connectByLogin(pb, 'c', rig.server.mcpUrl);
});
afterEach(() => rig.stop());

const ask = async (message: unknown) =>
  read(await pb.request('/mcp/default', { method: 'POST', json: message }));
const call = (name: string) => ask(rpc('tools/call', { name, arguments: { text: 'hi' } }));

test('a token that its server no longer takes is renewed in the middle of a call, and of a list', async () => {
  expectEchoed(await call('c.echo'));
  rig.server.book.expireAccessTokens();
  expectEchoed(await call('c.echo'));
  expect(refreshes(rig.server)).toHaveLength(1);
  rig.server.book.expireAccessTokens();
  const { json } = await ask(rpc('tools/list', {}));
  expect(json.result).not.toHaveProperty('_meta');
  expect(refreshes(rig.server)).toHaveLength(2);
});

test('a call that finds out that a login is needed says so, and the list names the connection', async () => {
  const refused = await call('c.admin');
  expect(refused.status).toBe(401);
  const authorizationUrl = expect.stringContaining('/default/c/setup?ticket=');
  expect(refused.json).toMatchObject({ id: 1, error: { code: -32001, data: { authorizationUrl } } });
  expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });
  const { json } = await ask(rpc('tools/list', {}));
  expect(json.result).toMatchObject({
    tools: [],
    _meta: { 'patchbay/unavailable': [{ connectionId: 'c', error: 'auth_required' }] },
  });
});
