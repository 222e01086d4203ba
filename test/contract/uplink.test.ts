import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { echoCall, expectNoLeak, mcp, put, raw, rest, stored } from '../fixtures/fault.ts';
import { until } from '../fixtures/until.ts';
import {
  answerAsServer,
  type Message,
  pair,
  refusedPairing,
  type UplinkClient,
} from '../fixtures/uplink-client.ts';
import { useContract } from './harness.ts';

const contract = useContract({ limits: { uplinkPingMs: 60_000, drainMs: 3_000 } });
const open: UplinkClient[] = [];
let id: string;
let serial = 0;

beforeEach(async () => {
  id = `laptop-${++serial}`;
});
afterEach(() => {
  for (const { socket } of open.splice(0)) socket.terminate();
});

const get = async (name = id) => (await contract.request(`/default/${encodeURIComponent(name)}`)).body;
const create = (name = id) => put(contract.pb, name, { transport: 'uplink' });

async function paired(options: Parameters<typeof pair>[2] = {}, name = id): Promise<UplinkClient> {
  const client = await pair(contract.pb, name, options);
  open.push(client);
  return client;
}

describe('an uplink as a connection', () => {
  test('is created without an address, and disconnected until a machine pairs', async () => {
    const { status, json } = await put(contract.pb, id, {
      transport: 'uplink',
      name: 'My laptop',
      metadata: { a: 1 },
    });
    expect(status).toBe(201);
    expect(json).toMatchObject({
      connectionId: id,
      name: 'My laptop',
      transport: 'uplink',
      mcpUrl: null,
      status: { state: 'disconnected' },
    });
    expect(json).not.toHaveProperty('serverInfo');
    const posted = await contract.request('/connect/default', {
      method: 'POST',
      json: { transport: 'uplink' },
    });
    expect(posted.status).toBe(201);
    expect(posted.body).toMatchObject({ transport: 'uplink', mcpUrl: null });
  });

  test.each([
    ['mcpUrl', { mcpUrl: 'http://127.0.0.1:1/mcp' }],
    ['headers', { headers: { 'x-key': 'v' } }],
    ['server', { server: 'acme/notes' }],
    ['mock', { mock: { enabled: true } }],
  ])('has no %s: 400 names the field', async (field, more) => {
    const { status, json } = await put(contract.pb, id, { transport: 'uplink', ...more });
    expect(status).toBe(400);
    expect(json).toMatchObject({ error: 'validation_error', message: expect.stringContaining(field) });
  });

  test('is set again with 200, and keeps its tunnel; another transport is another upstream', async () => {
    await create();
    await paired();
    const again = await put(contract.pb, id, { transport: 'uplink', name: 'renamed' });
    expect([again.status, again.json.name]).toEqual([200, 'renamed']);
    expect(again.json.status).toEqual({ state: 'connected' });
    expect((await put(contract.pb, id, { metadata: { b: '2' } })).json).toMatchObject({
      name: 'renamed',
      metadata: { b: '2' },
      status: { state: 'connected' },
    });
    expect((await put(contract.pb, id, { headers: {} })).status).toBe(400);
    const other = await put(contract.pb, id, { mcpUrl: 'http://127.0.0.1:1/mcp' });
    expect([other.status, other.json.error, other.headers.get('x-should-retry')]).toEqual([
      409,
      'url_mismatch',
      'false',
    ]);
    expect((await rest(contract.pb, id, { n: 1 })).status).toBe(200);
  });

  test('answers calls while it is offline at once, over both ways, with an error that may be retried', async () => {
    await create();
    const viaRest = await rest(contract.pb, id);
    expect([viaRest.status, viaRest.json.error]).toEqual([503, 'uplink_offline']);
    expect(viaRest.headers.get('x-should-retry')).toBeNull();
    expect(viaRest.headers.get('retry-after')).toBe('2');
    const viaMcp = await mcp(contract.pb, id, echoCall(7));
    expect(viaMcp.status).toBe(503);
    expect(viaMcp.headers.get('retry-after')).toBe('2');
    expect(viaMcp.json).toMatchObject({ jsonrpc: '2.0', id: 7, error: { code: 50303 } });
    const tools = await contract.request(`/default/.tools`);
    expect(tools.body).toMatchObject({
      [id]: { status: { state: 'disconnected' }, error: { error: 'uplink_offline' } },
    });
  });
});

describe('who may pair', () => {
  test('nobody without a good key, a machine of another organization, or for what is no uplink', async () => {
    await create();
    expect((await refusedPairing(pair(contract.pb, id, { key: null }))).status).toBe(401);
    expect((await refusedPairing(pair(contract.pb, id, { key: 'no-key-of-this-server' }))).status).toBe(401);
    expect((await refusedPairing(pair(contract.pb, 'no-such'))).status).toBe(404);
    expect((await refusedPairing(pair(contract.pb, id, { path: `/not-mine/${id}` }))).status).toBe(404);
    await put(contract.pb, `${id}-http`, { mcpUrl: 'http://127.0.0.1:9/mcp' });
    const refused = await refusedPairing(pair(contract.pb, `${id}-http`));
    expect([refused.status, refused.body.error]).toEqual([400, 'validation_error']);
  });

  test('only a token that may write connections, and this one', async () => {
    await create();
    await put(contract.pb, id, { metadata: { team: 'a' } });
    const token = async (constraint: object) => {
      const minted = await contract.request('/tokens', { method: 'POST', json: { policy: [constraint] } });
      return (minted.body as { token: string }).token;
    };
    const reader = await token({ resources: ['connections'], operations: ['read', 'execute'] });
    const refused = await refusedPairing(pair(contract.pb, id, { key: reader }));
    expect([refused.status, refused.body.message]).toEqual([
      403,
      expect.stringContaining('connections:write'),
    ]);
    const other = await token({ resources: 'connections', operations: 'write', metadata: { team: 'b' } });
    expect((await refusedPairing(pair(contract.pb, id, { key: other }))).status).toBe(404);
    const writer = await token({ resources: 'connections', operations: 'write', metadata: { team: 'a' } });
    await paired({ key: writer });
  });

  test('no page of a foreign origin, and under no foreign Host', async () => {
    await create();
    const foreign = { origin: 'https://evil.example' };
    expect((await refusedPairing(pair(contract.pb, id, { headers: foreign }))).status).toBe(403);
    const rebound = { host: 'evil.example' };
    expect((await refusedPairing(pair(contract.pb, id, { headers: rebound }))).status).toBe(403);
    await paired({ headers: { origin: 'http://localhost:3000' } });
  });

  test('by a WebSocket handshake alone; other requests that ask for an upgrade are served without', async () => {
    await create();
    const plain = await raw(contract.pb, { path: `/uplink/default/${id}` });
    expect([plain.status, JSON.parse(plain.text).error]).toEqual([426, 'upgrade_required']);
    const upgrade = { connection: 'upgrade', upgrade: 'h2c' };
    expect((await raw(contract.pb, { path: '/health', headers: upgrade })).status).toBe(200);
    const malformed = { connection: 'upgrade', upgrade: 'websocket' };
    const refused = await raw(contract.pb, { path: `/default/${id}`, headers: malformed });
    expect([refused.status, JSON.parse(refused.text).error]).toEqual([400, 'bad_request']);
    expect((await raw(contract.pb, { path: '/no/such', headers: malformed })).status).toBe(404);
    expect((await stored(contract.pb, id)).state).toBe('disconnected');
  });
});

describe("the vendor's command line, frame by frame", () => {
  test('pairs, is introduced once it listens, and its server is known', async () => {
    await create();
    const client = await paired({ deafTo: 1 });
    expect(await get()).toMatchObject({ status: { state: 'connected' } });
    await until(async () => ((await get()) as { serverInfo?: object }).serverInfo);
    expect(await get()).toMatchObject({ serverInfo: { name: 'uplink-fixture', version: '0.1.0' } });
    expect(client.received.filter(({ method }) => method === 'initialize').length).toBeGreaterThan(1);
    expect(client.socket.extensions).toBe('');
  });

  test('has a conflict with a second session, which may take over: 1001 "replaced"', async () => {
    await create();
    const held: Message[] = [];
    const first = await paired({
      answer: (message) => {
        if (message.method !== 'tools/call') return answerAsServer(message);
        held.push(message);
        return undefined;
      },
    });
    const refused = await refusedPairing(pair(contract.pb, id));
    expect([refused.status, refused.body.error]).toEqual([409, 'uplink_in_use']);
    await rest(contract.pb, id, { warm: true }, { signal: AbortSignal.timeout(300) }).catch(() => {});
    const under = rest(contract.pb, id, { n: 1 });
    await until(() => held.length > 1);
    const second = await paired({ force: true });
    expect(await first.closed).toEqual({ code: 1001, reason: 'replaced' });
    const lost = await under;
    expect([lost.status, lost.json.error, lost.headers.get('x-should-retry')]).toEqual([
      502,
      'upstream_failed',
      'false',
    ]);
    expect(second.socket.readyState).toBe(second.socket.OPEN);
    expect(await get()).toMatchObject({ status: { state: 'connected' } });
    expect((await rest(contract.pb, id, { n: 2 })).json).toMatchObject({ content: [{ text: '{"n":2}' }] });
  });

  test('ends by Ctrl-C: the handshake is finished, TCP ends, and the connection can be deleted', async () => {
    await create();
    const client = await paired();
    const [closed, deleted] = await Promise.all([
      client.close(),
      contract.request(`/default/${id}`, { method: 'DELETE' }),
    ]);
    expect(closed.code).toBe(1000);
    expect([deleted.status, deleted.body]).toEqual([200, { success: true }]);
    expect((await contract.request(`/default/${id}`)).status).toBe(404);
  });

  test('leaves the connection when it dies: disconnected, without server and tools; and comes back by force', async () => {
    await create();
    const client = await paired();
    await until(async () => ((await get()) as { serverInfo?: object }).serverInfo);
    expect((await rest(contract.pb, id, {})).status).toBe(200);
    client.socket.terminate();
    await until(async () => (await stored(contract.pb, id)).state === 'disconnected');
    expect(await get()).toMatchObject({ status: { state: 'disconnected' }, iconUrl: null });
    expect(await get()).not.toHaveProperty('serverInfo');
    expect((await rest(contract.pb, id, {})).status).toBe(503);
    await paired({ force: true });
    expect((await rest(contract.pb, id, { back: true })).status).toBe(200);
  });

  test('is hung up on when its connection is deleted', async () => {
    await create();
    const client = await paired();
    await contract.request(`/default/${id}`, { method: 'DELETE' });
    expect(await client.closed).toEqual({ code: 1000, reason: 'deleted' });
  });

  test.each(['team/laptop', 'höhe/ä b', 'a%2Fb'])(
    'pairs with the id %j, slashes as segments or encoded',
    async (name) => {
      await create(name);
      const client = await paired({}, name);
      client.socket.terminate();
      await until(async () => (await stored(contract.pb, name)).state === 'disconnected');
      await paired({ path: `/connect/default/${encodeURIComponent(name)}` }, name);
      expect((await mcp(contract.pb, name, echoCall(1, { name }))).status).toBe(200);
      await contract.request(`/default/${encodeURIComponent(name)}`, { method: 'DELETE' });
    },
  );
});

describe('calls through the tunnel', () => {
  test('of many callers at once, with equal ids, share it unmixed', async () => {
    await create();
    const client = await paired();
    const calls = Array.from({ length: 200 }, (_, n) => mcp(contract.pb, id, echoCall(1, { n })));
    for (const [n, { status, json }] of (await Promise.all(calls)).entries()) {
      expect(status).toBe(200);
      expect(json).toEqual({
        jsonrpc: '2.0',
        id: 1,
        result: { content: [{ type: 'text', text: JSON.stringify({ n }) }] },
      });
    }
    const ids = client.received.filter(({ method }) => method === 'tools/call').map((message) => message.id);
    expect(new Set(ids).size).toBe(200);
  });

  test('are listed, found and refused as those of any other connection', async () => {
    await create();
    await paired();
    const listed = await contract.request(`/default/${id}/.tools`);
    expect(listed.body).toMatchObject({ tools: [{ name: 'echo' }] });
    expect((await contract.request(`/default/${id}/.tools/none`)).status).toBe(404);
    const unknown = await mcp(contract.pb, id, { jsonrpc: '2.0', id: 3, method: 'no/such' });
    expect(unknown.json).toMatchObject({ id: 3, error: { code: -32601 } });
    const aggregated = await contract.request('/mcp/default', {
      method: 'POST',
      json: {
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: { name: `${id}.echo`, arguments: { x: 1 } },
      },
      headers: { accept: 'application/json, text/event-stream' },
    });
    expect(aggregated.text).toContain('{\\"x\\":1}');
    const { key } = contract.pb;
    expect(
      (await contract.request(`/default/${id}/mcp`, { method: 'POST', json: echoCall(), key: `${key}x` }))
        .status,
    ).toBe(401);
  });

  test('are cancelled at the server when the caller goes', async () => {
    await create();
    const client = await paired({
      answer: (message) => (message.method === 'tools/call' ? undefined : answerAsServer(message)),
    });
    const left = new AbortController();
    const call = mcp(contract.pb, id, echoCall(), { signal: left.signal }).catch(() => 'gone');
    const sent = await until(() => client.received.find(({ method }) => method === 'tools/call'));
    left.abort();
    expect(await call).toBe('gone');
    const cancelled = await until(() =>
      client.received.find(({ method }) => method === 'notifications/cancelled'),
    );
    expect(cancelled.params).toMatchObject({ requestId: sent.id });
  });

  test('are in the audit, and so is the pairing', async () => {
    await create();
    await paired();
    await mcp(contract.pb, id, echoCall());
    const rows = await until(async () => {
      const found = await contract.pb.store.db
        .selectFrom('audit')
        .selectAll()
        .where('connection_id', '=', id)
        .execute();
      return found.length >= 3 ? found : undefined;
    });
    expect(rows.map(({ method, outcome, status }) => [method, outcome, status]).sort()).toEqual([
      ['connections/set', 'ok', 201],
      ['tools/call', 'ok', 200],
      ['uplink/pair', 'ok', 101],
    ]);
  });

  test('end with an error that leaks nothing when the server behind is no MCP server', async () => {
    await create();
    const client = await paired({ answer: () => ({ error: { code: -1, message: 'secret /etc/passwd' } }) });
    const answer = await rest(contract.pb, id);
    expect(answer.status).toBe(503);
    expectNoLeak(answer.text, contract.pb);
    expect(answer.text).not.toContain('secret');
    expect((await client.closed).code).toBe(1002);
  });
});
