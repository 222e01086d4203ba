import { Client as SecondClient, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as FirstClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as FirstTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { legacyServer, modernServer, RpcError, type Upstream } from '../fixtures/upstream.ts';
import { useContract } from './harness.ts';
import { startSdkUpstream } from './sdk-upstream.ts';
import { setupUrlOf, storeStatus } from './stored-status.ts';

const namespaceEndpointMs = 400;
const contract = useContract({
  limits: { namespaceEndpointMs, healMinMs: 60_000, healMaxMs: 60_000, callTimeoutMs: 5_000 },
});
const namespace = 'default';
const longId = `a.dotted/${'x'.repeat(191)}`;
const unavailableKey = 'patchbay/unavailable';
const odd = {
  name: 'odd',
  title: 'Odd',
  description: 'Mentions odd and leaves it so.',
  inputSchema: { type: 'object', 'x-keyword': [1] },
  annotations: { readOnlyHint: true },
  _meta: { 'example.com/kept': { deep: true } },
  'x-unknown': 1,
};
const oddResult = {
  content: [{ type: 'hologram', shape: 'cube' }],
  structuredContent: { n: 1 },
  _meta: { 'example.com/kept': true },
  'x-unknown': ['kept'],
};
let sdk: Awaited<ReturnType<typeof startSdkUpstream>>;
let hanging: Upstream;
let dead: Upstream;
let waiting: Upstream;

/** Says who was called, so that a call that went astray shows. */
const named = (who: string) => (name: string, args: Record<string, unknown>) => ({
  content: [{ type: 'text', text: `${who}:${name}:${JSON.stringify(args)}` }],
});

beforeAll(async () => {
  const { connections } = contract.sdk();
  sdk = await startSdkUpstream('reject');
  const legacy = await contract.upstream(
    legacyServer({
      sessions: true,
      tools: [odd, { name: 'echo' }, { name: 'repo.search' }, { name: 'refuse' }],
      call: (name, args) => {
        if (name === 'refuse') throw new RpcError(4711, 'not today');
        return name === 'odd' ? oddResult : named('legacy')(name, args);
      },
    }).handler,
  );
  const modern = await contract.upstream(modernServer({ call: named('modern') }).handler);
  const long = await contract.upstream(legacyServer({ sse: true, call: named('long') }).handler);
  dead = await contract.upstream(legacyServer().handler);
  hanging = await contract.upstream(legacyServer().handler);
  waiting = await contract.upstream(legacyServer().handler);
  for (const [id, { url }] of [
    ['legacy', legacy],
    ['modern', modern],
    ['sdk', sdk],
    [longId, long],
    ['dead', dead],
    ['hanging', hanging],
    ['waits', waiting],
    ['asks', waiting],
  ] as const) {
    await connections.set(id, { namespace, mcpUrl: url });
  }
  await storeStatus(contract, 'waits', { state: 'auth_required' });
  await storeStatus(contract, 'asks', {
    state: 'input_required',
    http: { headers: { 'X-Key': { label: 'Key' } } },
    missing: { headers: ['X-Key'], query: [] },
  });
  await dead.stop();
  hanging.handle(() => {});
  waiting.received.length = 0;
});
afterAll(async () => {
  await hanging?.stop();
  await sdk?.stop();
});

const expectedNames = [
  'legacy.odd',
  'legacy.echo',
  'legacy.repo.search',
  'legacy.refuse',
  'modern.echo',
  'sdk.add',
  'sdk.fail',
  expect.stringMatching(/^a-dotted-x{22}_[0-9a-f]{32}$/),
];

const post = (json: unknown) => contract.request(`/mcp/${namespace}`, { method: 'POST', json });
const rpc = (method: string, params?: unknown) => ({ jsonrpc: '2.0', id: 7, method, params });
const call = (name: string, args: Record<string, unknown> = {}) =>
  post(rpc('tools/call', { name, arguments: args }));

interface Listed {
  result: { tools: Record<string, unknown>[]; _meta: Record<string, Record<string, unknown>[]> };
}

async function list(): Promise<Listed['result']> {
  const answer = await post(rpc('tools/list'));
  expect(answer.status).toBe(200);
  return (answer.body as Listed).result;
}

describe('tools/list', () => {
  test('names the dead and the waiting, and takes no longer than its limit', async () => {
    const start = performance.now();
    const { tools, _meta } = await list();
    const tookMs = performance.now() - start;
    expect(tools.map(({ name }) => name)).toEqual(expectedNames);
    expect(_meta[unavailableKey]).toEqual([
      { connectionId: 'dead', error: 'upstream_failed', message: 'connection refused' },
      { connectionId: 'hanging', error: 'upstream_timeout', message: expect.any(String) },
      { connectionId: 'waits', error: 'auth_required', message: setupUrlOf(contract, 'waits') },
      { connectionId: 'asks', error: 'input_required', message: setupUrlOf(contract, 'asks') },
    ]);
    expect(waiting.received).toEqual([]);
    expect(tookMs).toBeGreaterThanOrEqual(namespaceEndpointMs * 0.9);
    // Generous, because the machine may be busy; the limit of one upstream alone is 20 s.
    expect(tookMs).toBeLessThan(namespaceEndpointMs + 3_000);
  });

  test('changes nothing of a tool but its name', async () => {
    const { tools } = await list();
    expect(tools[0]).toEqual({ ...odd, name: 'legacy.odd' });
  });

  test('refuses a cursor, since there is one page', async () => {
    expect(await post(rpc('tools/list', { cursor: 'x' }))).toMatchObject({
      status: 400,
      body: { id: 7, error: { code: -32602 } },
    });
  });
});

describe('tools/call', () => {
  test('reaches the connection that the name names, though others have the same tool', async () => {
    const { tools } = await list();
    const alias = tools.at(-1)?.name as string;
    for (const [name, text] of [
      ['legacy.echo', 'legacy:echo:{"n":1}'],
      ['legacy.repo.search', 'legacy:repo.search:{"n":1}'],
      ['modern.echo', 'modern:echo:{"n":1}'],
      [alias, 'long:echo:{"n":1}'],
    ] as const) {
      const answer = await call(name, { n: 1 });
      expect(answer).toMatchObject({
        status: 200,
        body: { id: 7, result: { content: [{ type: 'text', text }] } },
      });
    }
  });

  test('passes results that no client knows, and errors with their code', async () => {
    expect((await call('legacy.odd')).body).toEqual({ jsonrpc: '2.0', id: 7, result: oddResult });
    expect(await call('legacy.refuse')).toMatchObject({
      status: 200,
      body: { error: { code: 4711, message: 'not today' } },
    });
    expect(await call('sdk.fail')).toMatchObject({ status: 200, body: { result: { isError: true } } });
  });

  test('answers like the connection’s own endpoint while that waits for its user', async () => {
    const authorizationUrl = setupUrlOf(contract, 'waits');
    expect(await call('waits.echo')).toMatchObject({
      status: 401,
      body: { id: 7, error: { code: -32001, data: { authorizationUrl } } },
    });
    expect(await call('asks.echo')).toMatchObject({
      status: 409,
      body: { id: 7, error: { code: -32002, data: { missing: { headers: ['X-Key'], query: [] } } } },
    });
    expect(await call('dead.echo')).toMatchObject({ status: 502, body: { id: 7 } });
    expect(waiting.received).toEqual([]);
  });

  test.each(['legacy.missing', 'nowhere.echo', 'echo', '', 'LEGACY.echo', 'a-dotted_0'])(
    'knows no tool %j: -32602',
    async (name) => {
      expect(await call(name)).toMatchObject({ status: 200, body: { id: 7, error: { code: -32602 } } });
    },
  );

  test.each([
    undefined,
    { arguments: {} },
    { name: 1 },
    { name: 'legacy.echo', arguments: [] },
    { name: 'legacy.echo', arguments: null },
  ])('refuses the params %j: 400', async (params) => {
    expect(await post(rpc('tools/call', params))).toMatchObject({
      status: 400,
      body: { id: 7, error: { code: -32602 } },
    });
  });
});

const headersOf = () => ({ requestInit: { headers: { authorization: `Bearer ${contract.pb.key}` } } });
const endpoint = () => new URL(`${contract.url}/mcp/${namespace}`);

describe('the MCP SDK’s clients', () => {
  test('of the first edition list and call', async () => {
    const client = new FirstClient({ name: 'contract', version: '1.0.0' });
    // The SDK's transport and its interface disagree under exactOptionalPropertyTypes.
    await client.connect(new FirstTransport(endpoint(), headersOf()) as Transport);
    expect(client.getServerVersion()).toMatchObject({ name: 'patchbay' });
    expect(client.getServerCapabilities()).toEqual({
      tools: { listChanged: true },
      prompts: { listChanged: true },
      resources: { listChanged: true },
      completions: {},
    });
    await client.ping();
    const { tools, _meta } = await client.listTools();
    expect(tools.map(({ name }) => name)).toEqual(expectedNames);
    expect(_meta?.[unavailableKey]).toHaveLength(4);
    const sum = await client.callTool({ name: 'sdk.add', arguments: { a: 2, b: 3 } });
    expect(sum.content).toEqual([{ type: 'text', text: '5' }]);
    const echoed = await client.callTool({ name: 'legacy.echo', arguments: {} });
    expect(echoed.content).toEqual([{ type: 'text', text: 'legacy:echo:{}' }]);
    await expect(client.callTool({ name: 'no.such', arguments: {} })).rejects.toThrow(
      /Unknown tool: no\.such/,
    );
    await client.close();
  });

  test.each([
    ['legacy', '2025-11-25'],
    ['auto', '2026-07-28'],
    [{ pin: '2026-07-28' }, '2026-07-28'],
  ] as const)('of the second edition list and call, in the mode %j', async (mode, revision) => {
    const client = new SecondClient({ name: 'contract', version: '1.0.0' }, { versionNegotiation: { mode } });
    await client.connect(new StreamableHTTPClientTransport(endpoint(), headersOf()));
    expect(client.getNegotiatedProtocolVersion()).toBe(revision);
    expect(client.getServerVersion()).toMatchObject({ name: 'patchbay' });
    const { tools, _meta } = await client.listTools();
    expect(tools.map(({ name }) => name)).toEqual(expectedNames);
    expect(_meta?.[unavailableKey]).toHaveLength(4);
    const sum = await client.callTool({ name: 'sdk.add', arguments: { a: 2, b: 3 } });
    expect(sum.content).toEqual([{ type: 'text', text: '5' }]);
    const echoed = await client.callTool({ name: tools.at(-1)?.name as string, arguments: {} });
    expect(echoed.content).toEqual([{ type: 'text', text: 'long:echo:{}' }]);
    await expect(client.callTool({ name: 'no.such', arguments: {} })).rejects.toThrow(
      /Unknown tool: no\.such/,
    );
    await client.close();
  });
});
