import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { legacyServer, modernServer, RpcError, type Upstream } from '../fixtures/upstream.ts';
import { useContract } from './harness.ts';
import { setupUrlOf, storeStatus } from './stored-status.ts';

/** The endpoint of a namespace with `?search=1`: three tools instead of all. */
const contract = useContract({
  limits: {
    namespaceEndpointMs: 400,
    healMinMs: 60_000,
    healMaxMs: 60_000,
    toolSearchShownChars: 40,
    circuitFailures: 1_000,
  },
});
const namespace = 'default';
const many = Array.from({ length: 500 }, (_, i) => ({ name: `row_${i}`, description: 'Reads a row.' }));
const search = {
  name: 'search_issues',
  title: 'Issues',
  description: 'Finds the issues of a project, open and closed ones, by words of their texts.',
  inputSchema: { type: 'object', properties: { q: { type: 'string' } }, 'x-keyword': [1] },
  annotations: { readOnlyHint: true },
};
const region = {
  name: 'query',
  description: 'Queries one region.',
  inputSchema: { type: 'object', properties: { region: { type: 'string', 'x-mcp-header': 'Region' } } },
};
const oddResult = {
  content: [{ type: 'hologram' }],
  structuredContent: { n: 1 },
  isError: true,
  'x-unknown': 1,
};
let legacy: Upstream;
let modern: Upstream;
let dead: Upstream;

beforeAll(async () => {
  const { connections } = contract.sdk();
  legacy = await contract.upstream(
    legacyServer({
      sessions: true,
      tools: [search, { name: 'refuse' }, ...many],
      call: (name, args) => {
        if (name === 'refuse') throw new RpcError(4711, 'not today');
        return name === 'search_issues'
          ? oddResult
          : { content: [{ type: 'text', text: JSON.stringify(args) }] };
      },
    }).handler,
  );
  modern = await contract.upstream(modernServer({ tools: [region] }).handler);
  dead = await contract.upstream(legacyServer().handler);
  for (const [id, { url }] of [
    ['github', legacy],
    ['a.dotted', legacy],
    ['db', modern],
    ['dead', dead],
    ['waits', dead],
  ] as const) {
    await connections.set(id, { namespace, mcpUrl: url });
  }
  await storeStatus(contract, 'waits', { state: 'auth_required' });
  await dead.stop();
});

const post = (json: unknown, query = '?search=1') =>
  contract.request(`/mcp/${namespace}${query}`, { method: 'POST', json });
const rpc = (method: string, params?: unknown) => ({ jsonrpc: '2.0', id: 7, method, params });
const call = (name: string, args?: unknown) => post(rpc('tools/call', { name, arguments: args }));
const resultOf = async (name: string, args?: unknown) => {
  const answer = await call(name, args);
  expect(answer.status).toBe(200);
  return (answer.body as { result: Record<string, unknown> }).result;
};
const find = async (args: unknown) => {
  const { structuredContent, content, _meta } = await resultOf('search_tools', args);
  expect(content).toEqual([{ type: 'text', text: JSON.stringify(structuredContent) }]);
  return { ...(structuredContent as { tools: Record<string, string>[]; total: number }), _meta };
};

describe('tools/list', () => {
  test('gives three tools and asks no upstream', async () => {
    legacy.received.length = 0;
    const { body } = await post(rpc('tools/list'));
    const { tools } = (body as { result: { tools: { name: string }[] } }).result;
    expect(tools.map(({ name }) => name)).toEqual(['search_tools', 'describe_tool', 'call_tool']);
    expect(legacy.received).toEqual([]);
  });

  test.each(['?search=0', '?search=', '?search=true', '?search=1&search=1'])(
    '%s is refused',
    async (query) => {
      expect(await post(rpc('tools/list'), query)).toMatchObject({
        status: 400,
        body: { error: { code: -32602, message: expect.stringMatching(/^search: /) } },
      });
    },
  );

  test('the three are described to the client, which is told how to use them', async () => {
    const params = {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'x', version: '1' },
    };
    expect((await post(rpc('initialize', params))).body).toMatchObject({
      result: { instructions: expect.stringContaining('search_tools') },
    });
    expect((await post(rpc('initialize', params), '')).body).not.toHaveProperty('result.instructions');
  });
});

describe('search_tools', () => {
  test('finds the best first, in short, and names who could not be asked', async () => {
    const { tools, _meta } = await find({ query: 'find issues' });
    expect(tools.slice(0, 2)).toEqual([
      {
        name: 'github.search_issues',
        connectionId: 'github',
        title: 'Issues',
        description: 'Finds the issues of a project, open and',
      },
      {
        name: expect.stringMatching(/^a-dotted-search_issues_[0-9a-f]{32}$/),
        connectionId: 'a.dotted',
        title: 'Issues',
        description: expect.any(String),
      },
    ]);
    expect(_meta).toEqual({
      'patchbay/unavailable': [
        { connectionId: 'dead', error: 'upstream_failed', message: 'connection refused' },
        { connectionId: 'waits', error: 'auth_required', message: setupUrlOf(contract, 'waits') },
      ],
    });
  });

  test('gives ten unless told, and says how many there are', async () => {
    expect(await find({ query: 'row' })).toMatchObject({ tools: { length: 10 }, total: 1_000 });
    expect((await find({ query: 'row', limit: 50 })).tools).toHaveLength(50);
    expect(await find({ query: 'zebra' })).toMatchObject({ tools: [], total: 0 });
  });

  test.each<[args: unknown, field: string]>([
    [undefined, 'query'],
    [{}, 'query'],
    [{ query: '' }, 'query'],
    [{ query: 1 }, 'query'],
    [{ query: 'x'.repeat(501) }, 'query'],
    [{ query: 'row', limit: 0 }, 'limit'],
    [{ query: 'row', limit: 51 }, 'limit'],
    [{ query: 'row', limit: 1.5 }, 'limit'],
    [{ query: 'row', page: 2 }, 'arguments'],
  ])('tells the model that %j is wrong: %s', async (args, field) => {
    expect(await resultOf('search_tools', args)).toEqual({
      isError: true,
      content: [{ type: 'text', text: expect.stringMatching(new RegExp(`^${field}: `)) }],
    });
  });
});

describe('describe_tool', () => {
  test('gives the whole definition, under the name of the namespace', async () => {
    const { tools } = await find({ query: 'find issues' });
    for (const { name } of tools.slice(0, 2)) {
      const { structuredContent } = await resultOf('describe_tool', { name });
      expect(structuredContent).toEqual({ tool: { ...search, name } });
    }
  });

  test('answers like a call for what is not there', async () => {
    expect(await call('describe_tool', { name: 'github.none' })).toMatchObject({
      status: 200,
      body: { error: { code: -32602 } },
    });
    expect(await call('describe_tool', { name: 'waits.echo' })).toMatchObject({
      status: 401,
      body: { id: 7, error: { code: -32001, data: { authorizationUrl: setupUrlOf(contract, 'waits') } } },
    });
    expect(await call('describe_tool', { name: 'dead.echo' })).toMatchObject({ status: 502 });
    expect(await resultOf('describe_tool', {})).toMatchObject({ isError: true });
  });
});

describe('call_tool', () => {
  test('passes arguments and results as they are', async () => {
    expect(await resultOf('call_tool', { name: 'github.search_issues', arguments: { q: 'x' } })).toEqual(
      oddResult,
    );
    expect(await resultOf('call_tool', { name: 'github.row_499', arguments: { n: 1 } })).toEqual({
      content: [{ type: 'text', text: '{"n":1}' }],
    });
    expect(await resultOf('call_tool', { name: 'github.row_499' })).toEqual({
      content: [{ type: 'text', text: '{}' }],
    });
  });

  test('mirrors arguments for a tool that wants them so, which its caller cannot', async () => {
    modern.received.length = 0;
    await resultOf('call_tool', { name: 'db.query', arguments: { region: 'Bern' } });
    expect(modern.received.at(-1)?.headers).toMatchObject({
      'mcp-name': 'query',
      'mcp-param-region': 'Bern',
    });
  });

  test('answers errors as for a direct call', async () => {
    for (const [name, status, code] of [
      ['github.refuse', 200, 4711],
      ['github.none', 200, -32602],
      ['call_tool', 200, -32602],
      ['waits.echo', 401, -32001],
      ['dead.echo', 502, 50201],
    ] as const) {
      expect([name, await call('call_tool', { name })]).toMatchObject([
        name,
        { status, body: { error: { code } } },
      ]);
    }
    for (const args of [{}, { name: 1 }, { name: 'github.row_1', arguments: [] }, { name: 'x', args: {} }]) {
      expect([args, await resultOf('call_tool', args)]).toMatchObject([args, { isError: true }]);
    }
  });

  test('is the only way: a tool itself is not offered here', async () => {
    expect(await call('github.row_1', {})).toMatchObject({ status: 200, body: { error: { code: -32602 } } });
    expect(
      await post(rpc('tools/call', { name: 'search_tools', arguments: { query: 'x' } }), ''),
    ).toMatchObject({
      body: { error: { code: -32602 } },
    });
  });

  test('is in the audit as the tool that it called', async () => {
    await resultOf('call_tool', { name: 'github.row_7' });
    await expect
      .poll(() =>
        contract.pb.store.db
          .selectFrom('audit')
          .select(['connection_id', 'tool'])
          .where('tool', '=', 'row_7')
          .execute(),
      )
      .toEqual([{ connection_id: 'github', tool: 'row_7' }]);
  });
});

describe('the MCP SDK’s client', () => {
  const clients: Client[] = [];
  afterAll(async () => {
    for (const client of clients) await client.close();
  });

  test.each(['2025-11-25', '2026-07-28'])('of %s searches, reads and calls', async (revision) => {
    const mode = revision === '2025-11-25' ? 'legacy' : { pin: revision };
    const client = new Client({ name: 'contract', version: '1.0.0' }, { versionNegotiation: { mode } });
    clients.push(client);
    await client.connect(
      new StreamableHTTPClientTransport(new URL(`${contract.url}/mcp/${namespace}?search=1`), {
        requestInit: { headers: { authorization: `Bearer ${contract.pb.key}` } },
      }),
    );
    expect(client.getInstructions()).toContain('search_tools');
    const { tools } = await client.listTools();
    expect(tools).toHaveLength(3);
    // The client holds structured results against the output schemas that it has listed.
    const found = await client.callTool({ name: 'search_tools', arguments: { query: 'region' } });
    expect(found.structuredContent).toMatchObject({ tools: [{ name: 'db.query' }] });
    const described = await client.callTool({ name: 'describe_tool', arguments: { name: 'db.query' } });
    expect(described.structuredContent).toMatchObject({ tool: { inputSchema: region.inputSchema } });
    const args = { name: 'db.query', arguments: { region: 'Zürich' } };
    const called = await client.callTool({ name: 'call_tool', arguments: args });
    expect(called.content).toEqual([{ type: 'text', text: '{"region":"Zürich"}' }]);
  });
});
