import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Answer, mcp, put, read, rest, stored, untilState } from '../fixtures/fault.ts';
import { followLogin } from '../fixtures/oauth/browser.ts';
import { answer } from '../fixtures/oauth/faults.ts';
import {
  awaitLogin,
  connectByLogin,
  expectCallWorks,
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
  pb = await rig.start({ limits: { healMinMs: 20, healMaxMs: 60, healSweepMs: 50 } });
});
afterEach(() => rig.stop());

/** The requests that a client may send, and a notification. */
const methods: [method: string, params: Record<string, unknown>][] = [
  ['tools/list', {}],
  ['tools/call', { name: 'echo', arguments: {} }],
  ['prompts/list', {}],
  ['prompts/get', { name: 'greet' }],
  ['resources/list', {}],
  ['resources/templates/list', {}],
  ['resources/read', { uri: 'fixture://note' }],
  ['resources/subscribe', { uri: 'fixture://note' }],
  ['completion/complete', { ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'a', value: '' } }],
  ['logging/setLevel', { level: 'info' }],
  ['ping', {}],
  ['notifications/cancelled', { requestId: 7 }],
];

const eras = ['legacy', 'modern'] as const;
type Era = (typeof eras)[number];

function isNotification(method: string): boolean {
  return method.startsWith('notifications/');
}

/** Sends one message to the MCP endpoint as a caller of that era does. */
function send(era: Era, id: string, method: string, params: Record<string, unknown>): Promise<Answer> {
  const message = { jsonrpc: '2.0', ...(!isNotification(method) && { id: 1 }), method, params };
  if (era === 'legacy') return mcp(pb, id, message);
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const name = params.name ?? params.uri;
  const headers = {
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': method,
    ...(typeof name === 'string' && { 'mcp-name': name }),
  };
  return mcp(pb, id, { ...message, params: { ...params, _meta } }, { headers });
}

/** The tokens that came with the messages of `method` so far, oldest first. */
function tokensOf(method: string): (string | undefined)[] {
  const calls = rig.server.requestsTo('mcp').filter(({ json }) => json?.method === method);
  return calls.map(({ headers }) => headers.authorization?.replace(/^Bearer /, ''));
}

function isLive(token: string | undefined): boolean {
  return token !== undefined && rig.server.book.grantOf(token) !== undefined;
}

/** The connection waits for its user, and its upstream is left alone meanwhile. */
async function expectWaiting(id: string): Promise<void> {
  expect(await stored(pb, id)).toEqual({ state: 'auth_required' });
  const before = rig.server.requestsTo('mcp').length;
  for (const [method, params] of methods) await send('legacy', id, method, params);
  await rest(pb, id);
  await pb.request(`/connect/default/${id}`);
  expect(rig.server.requestsTo('mcp').length).toBe(before);
}

// Pains 16.
describe.each(eras)('every %s method', (era) => {
  beforeEach(() => {
    rig.server.behaviour.mcp.era = era;
  });

  it('carries the token', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    for (const [method, params] of methods) {
      const { status } = await send(era, 'c', method, params);
      expect([200, 202, 404], method).toContain(status);
      expect(isLive(tokensOf(method).at(-1)), method).toBe(true);
    }
  });

  it('carries a renewed token when the one before was refused', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    for (const [i, [method, params]] of methods.entries()) {
      rig.server.book.expireAccessTokens();
      const { status } = await send(era, 'c', method, params);
      expect([200, 202, 404], method).toContain(status);
      expect(isLive(tokensOf(method).at(-1)), method).toBe(true);
      expect(refreshes(rig.server).length, method).toBe(i + 1);
    }
    expect(await stored(pb, 'c')).toEqual({ state: 'connected' });
  });

  // Pains 15.
  it('says that a login is needed, and never answers something empty, when the grant is dead', async () => {
    for (const [i, [method, params]] of methods.entries()) {
      const id = `c${i}`;
      await connectByLogin(pb, id, rig.server.mcpUrl);
      rig.server.book.revokeAllGrants();
      const { status, json } = await send(era, id, method, params);
      expect({ method, status, json }).toEqual({
        method,
        status: 401,
        json: {
          jsonrpc: '2.0',
          id: isNotification(method) ? null : 1,
          error: {
            code: -32001,
            message: 'Authorization required',
            data: { authorizationUrl: expect.stringContaining(`/default/${id}/setup?ticket=`) },
          },
        },
      });
      await expectWaiting(id);
    }
  });
});

// Pains 15.
describe('over REST', () => {
  const paths = ['/.tools', '/.tools/echo'];

  it('every call carries the token, and a renewed one when that was refused', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    for (const _ of [1, 2]) {
      for (const path of paths) expect((await pb.request(`/connect/default/c${path}`)).status).toBe(200);
      expect((await rest(pb, 'c')).status).toBe(200);
      for (const method of ['tools/list', 'tools/call']) expect(isLive(tokensOf(method).at(-1))).toBe(true);
      rig.server.book.expireAccessTokens();
    }
    expect(refreshes(rig.server).length).toBe(1);
  });

  it.each(['GET /.tools', 'GET /.tools/echo', 'POST /.tools/echo'])(
    '%s says that a login is needed, and where, when the grant is dead',
    async (endpoint) => {
      const [method, path] = endpoint.split(' ') as [string, string];
      await connectByLogin(pb, 'c', rig.server.mcpUrl);
      rig.server.book.revokeAllGrants();
      const init = method === 'POST' ? { method, json: {} } : {};
      const { status, json } = await read(await pb.request(`/connect/default/c${path}`, init));
      expect(status).toBe(422);
      expect(json).toEqual({
        error: 'auth_required',
        message: expect.stringContaining(`${pb.url}/default/c/setup?ticket=`),
      });
      await expectWaiting('c');
    },
  );

  it('the list of a namespace names the connection that needs a login, and its state', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.revokeAllGrants();
    for (const _ of ['it finds out', 'it knows']) {
      const { json } = await read(await pb.request('/connect/default/.tools'));
      expect(json.c).toEqual({
        status: expect.objectContaining({ state: 'auth_required', setupUrl: expect.any(String) }),
        error: { error: 'auth_required', message: expect.stringContaining('/default/c/setup?ticket=') },
      });
    }
  });
});

describe('a server that guards only some methods', () => {
  const open = ['initialize', 'notifications/initialized', 'server/discover', 'ping', 'tools/list'];

  it('is connected until a guarded one is called, and then waits for a login', async () => {
    rig.server.behaviour.mcp.openMethods = open;
    expect((await put(pb, 'c', { mcpUrl: rig.server.mcpUrl })).json.status).toEqual({ state: 'connected' });
    expect((await mcp(pb, 'c', rpc('tools/list', {}))).status).toBe(200);

    const refused = await mcp(pb, 'c', rpc('prompts/get', { name: 'greet' }));
    expect(refused.status).toBe(401);
    expect(refused.json).toMatchObject({ error: { code: -32001 } });
    await expectWaiting('c');

    await followLogin(await setupUrlOf(pb, 'c'));
    await untilState(pb, 'c', 'connected');
    expect((await mcp(pb, 'c', rpc('prompts/get', { name: 'greet' }))).status).toBe(200);
  });

  it('still gets the token with those that it does not guard', async () => {
    rig.server.behaviour.mcp.openMethods = open;
    await put(pb, 'c', { mcpUrl: rig.server.mcpUrl });
    await mcp(pb, 'c', rpc());
    await followLogin(await setupUrlOf(pb, 'c'));
    await mcp(pb, 'c', rpc('tools/list', {}));
    expect(isLive(tokensOf('tools/list').at(-1))).toBe(true);
  });
});

// Pains 15.
describe('a refusal that no login can mend', () => {
  it.each([
    ['403', answer(403, { error: 'forbidden' })],
    ['401 without a place to log in', answer(401, { error: 'unauthorized' })],
  ])('%s is an error, and never an empty answer', async (_, fault) => {
    rig.server.behaviour.mcp.openMethods = methods
      .map(([method]) => method)
      .concat('initialize', 'server/discover');
    await put(pb, 'c', { mcpUrl: rig.server.mcpUrl });
    rig.server.behaviour.protectedResource.at = 'none';
    rig.server.behaviour.metadata.at = 'none';
    rig.server.behaviour.registration.open = false;
    rig.server.behaviour.faults.mcp = fault;
    for (const [method, params] of methods) {
      const { status, json } = await send('legacy', 'c', method, params);
      expect({ method, status }).toEqual({ method, status: 502 });
      expect(json).toMatchObject({ error: { message: expect.stringContaining('refused the credentials') } });
    }
    for (const path of ['/.tools', '/.tools/echo']) {
      expect((await pb.request(`/connect/default/c${path}`)).status).toBe(502);
    }
    await untilState(pb, 'c', 'error');
  });
});

// Pains 17.
describe('the status', () => {
  const shown = async () => (await read(await pb.request('/connect/default/c'))).json.status;

  it('follows what was last heard, through all the life of a login', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    expect(await shown()).toEqual({ state: 'connected' });

    rig.server.book.revokeAllGrants();
    await mcp(pb, 'c', rpc());
    expect(await shown()).toMatchObject({ state: 'auth_required' });

    await followLogin(await setupUrlOf(pb, 'c'));
    expect(await shown()).toEqual({ state: 'connected' });

    rig.server.behaviour.faults.mcp = answer(404);
    await mcp(pb, 'c', rpc());
    await untilState(pb, 'c', 'error');
    rig.server.heal();
    await expectCallWorks(pb, 'c');
    await untilState(pb, 'c', 'connected');
  });

  it('is not "connected" after a login whose token the server refuses', async () => {
    const setupUrl = await awaitLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.behaviour.mcp.grantOf = () => undefined;
    const steps = await followLogin(setupUrl);
    expect(steps.at(-1)?.text).not.toContain('All set');
    expect((await stored(pb, 'c')).state).not.toBe('connected');
    expect((await mcp(pb, 'c', rpc())).status).toBeGreaterThanOrEqual(400);
  });

  it('is not "connected" after a login if the server guards its tools alone, and refuses there', async () => {
    rig.server.behaviour.mcp.openMethods = ['initialize', 'notifications/initialized', 'server/discover'];
    await put(pb, 'c', { mcpUrl: rig.server.mcpUrl });
    await mcp(pb, 'c', rpc());
    rig.server.behaviour.mcp.grantOf = () => undefined;
    const steps = await followLogin(await setupUrlOf(pb, 'c'));
    expect(steps.at(-1)?.text).not.toContain('All set');
    expect((await stored(pb, 'c')).state).not.toBe('connected');
  });

  it('is not "connected" again because a call of before comes to an end', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    const [reached, released] = [Promise.withResolvers<unknown>(), Promise.withResolvers<void>()];
    rig.server.behaviour.faults.mcp = [
      async (response) => {
        reached.resolve(rig.server.requestsTo('mcp').at(-1)?.json?.id);
        await released.promise;
        await answer(200, { jsonrpc: '2.0', id: await reached.promise, result: {} })(response);
      },
    ];
    const slow = mcp(pb, 'c', rpc());
    await reached.promise;
    rig.server.book.revokeAllGrants();
    expect((await mcp(pb, 'c', rpc())).status).toBe(401);
    released.resolve();
    expect((await slow).status).toBe(200);
    await pb.restart();
    expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });
  });

  it('is no longer "auth required" once a set finds that the server asks for no login', async () => {
    await awaitLogin(pb, 'c', rig.server.mcpUrl);
    const all = methods.map(([method]) => method);
    rig.server.behaviour.mcp.openMethods = [
      'initialize',
      'notifications/initialized',
      'server/discover',
      ...all,
    ];
    expect((await put(pb, 'c', {})).json.status).toEqual({ state: 'connected' });
    await expectCallWorks(pb, 'c');
    expect(await shown()).toEqual({ state: 'connected' });
  });

  it('follows a key that is refused and then taken, without a login', async () => {
    rig.server.behaviour.protectedResource.at = 'none';
    rig.server.behaviour.metadata.at = 'none';
    rig.server.behaviour.registration.open = false;
    const { status, json } = await put(pb, 'c', { mcpUrl: rig.server.mcpUrl });
    expect(status).toBe(201);
    expect(json.status).toEqual({ state: 'error', message: 'upstream refused the credentials (401)' });
    const token = rig.server.book.issueAccessToken({
      clientId: 'by hand',
      scope: '',
      resource: undefined,
      family: 'by hand',
    });
    await put(pb, 'c', { headers: { authorization: `Bearer ${token}` } });
    expect(await shown()).toEqual({ state: 'connected' });

    rig.server.book.expireAccessTokens();
    expect((await mcp(pb, 'c', rpc())).status).toBe(502);
    await untilState(pb, 'c', 'error');
  });
});
