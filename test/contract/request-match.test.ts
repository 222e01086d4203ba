import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import type { TokenCreateParams } from '@smithery/api/resources/tokens';
import { beforeAll, describe, expect, test } from 'vitest';
import { legacyServer, modernServer, type Upstream } from '../fixtures/upstream.ts';
import { refusal, useContract } from './harness.ts';

const contract = useContract();
const namespace = 'default';
const ada = { userId: 'ada' };
const tools = ['get_issue', 'delete_issue'].map((name) => ({ name, inputSchema: { type: 'object' } }));
const reads = { method: '^tools/call$', 'params.name': '^get_' };
const forbidden = `Missing required permission: connections:execute in namespace ${namespace} for this request`;
const upstreams: Record<string, Upstream> = {};

type Policy = NonNullable<TokenCreateParams['policy']>;

const mint = async (...policy: Policy) => (await contract.sdk().tokens.create({ policy })).token;
const rpc = (method: string, params: object = {}) => ({ jsonrpc: '2.0', id: 1, method, params });
const call = (name: unknown, args: object = {}) => rpc('tools/call', { name, arguments: args });
const post = (key: string, path: string, json: object, headers: Record<string, string> = {}) =>
  contract.request(path, { method: 'POST', key, json, headers });
const raw = (key: string, body: string | Buffer, id = 'legacy') =>
  contract.request(`/mcp/${namespace}/${id}`, {
    method: 'POST',
    key,
    body: body as string,
    headers: { 'content-type': 'application/json' },
  });
const callsAt = (id: string) =>
  (upstreams[id] as Upstream).received.filter(({ message }) => message?.method === 'tools/call').length;

beforeAll(async () => {
  const answer = (name: string) => ({ content: [{ type: 'text', text: name }] });
  const servers = {
    legacy: legacyServer({ tools, call: answer, sessions: true }),
    modern: modernServer({ tools, call: answer }),
    other: legacyServer({ tools, call: answer }),
  };
  for (const [id, { handler }] of Object.entries(servers)) {
    const upstream = await contract.upstream(handler);
    upstreams[id] = upstream;
    const metadata = id === 'other' ? {} : { metadata: ada };
    await contract.sdk().connections.set(id, { namespace, mcpUrl: upstream.url, ...metadata });
  }
});

describe('a token bound to requests', () => {
  test.each(['legacy', 'modern'])('calls the tools that match, and no others, on a %s server', async (id) => {
    const token = await mint({ rpcReqMatch: reads });
    const before = callsAt(id);
    for (const path of [`/mcp/${namespace}/${id}`, `/connect/${namespace}/${id}/mcp`]) {
      expect((await post(token, path, call('get_issue'))).body).toMatchObject({
        result: { content: [{ text: 'get_issue' }] },
      });
      for (const message of [call('delete_issue'), call(7), rpc('tools/list'), rpc('prompts/get')]) {
        expect(await post(token, path, message)).toMatchObject({
          status: 403,
          body: { id: 1, error: { message: forbidden } },
        });
      }
    }
    expect(callsAt(id)).toBe(before + 2);
  });

  test('is held to it over REST, where a call is one with the tool’s own name', async () => {
    const token = await mint({ rpcReqMatch: reads });
    const tool = (name: string) => post(token, `/connect/${namespace}/legacy/.tools/${name}`, {});
    expect(await tool('get_issue')).toMatchObject({ status: 200 });
    expect(await tool('delete_issue')).toMatchObject({ status: 403, body: { message: forbidden } });
    for (const path of [
      `/connect/${namespace}/legacy/.tools`,
      `/connect/${namespace}/legacy/.tools/get_issue`,
    ]) {
      expect(await contract.request(path, { key: token })).toMatchObject({ status: 403 });
    }
    expect((await contract.request(`/${namespace}/.tools`, { key: token })).body).toEqual({});
    const lister = await mint({ rpcReqMatch: { method: '^tools/list$' }, metadata: ada });
    const listed = await contract.request(`/${namespace}/.tools`, { key: lister });
    expect(Object.keys(listed.body as object).sort()).toEqual(['legacy', 'modern']);
  });

  test('is held to arguments, too', async () => {
    const token = await mint({ rpcReqMatch: { 'params.arguments.repo': '^acme/' } });
    const path = `/connect/${namespace}/legacy/.tools/get_issue`;
    expect((await post(token, path, { repo: 'acme/site' })).status).toBe(200);
    expect((await post(token, path, { repo: 'other/acme/' })).status).toBe(403);
    expect(
      (await post(token, `/mcp/${namespace}/legacy`, call('get_issue', { repo: ['acme/'] }))).status,
    ).toBe(403);
  });

  test('is held to what goes upstream at the endpoint of the namespace', async () => {
    const token = await mint({ rpcReqMatch: reads });
    const path = `/mcp/${namespace}`;
    expect((await post(token, path, rpc('tools/list'))).body).toMatchObject({ result: { tools: [] } });
    expect((await post(token, path, call('legacy.get_issue'))).body).toMatchObject({
      result: { content: [{ text: 'get_issue' }] },
    });
    expect(await post(token, path, call('legacy.delete_issue'))).toMatchObject({ status: 403 });
    const search = `${path}?search=1`;
    expect(await post(token, search, call('call_tool', { name: 'legacy.delete_issue' }))).toMatchObject({
      status: 403,
    });
    expect(await post(token, search, call('describe_tool', { name: 'legacy.get_issue' }))).toMatchObject({
      status: 403,
    });
    expect((await post(token, search, call('search_tools', { query: 'issue' }))).body).toMatchObject({
      result: { structuredContent: { tools: [], total: 0 } },
    });
  });

  test('is about executing alone, and adds up with other constraints', async () => {
    const token = await mint({ rpcReqMatch: reads });
    expect(
      await refusal(contract.sdk({ apiKey: token }).connections.get('legacy', { namespace })),
    ).toMatchObject({ status: 403 });
    expect((await contract.request('/namespaces', { method: 'POST', key: token })).status).toBe(403);
    const both = await mint({ rpcReqMatch: reads }, { operations: 'read' }, { metadata: ada });
    expect((await contract.sdk({ apiKey: both }).connections.get('other', { namespace })).name).toBeTruthy();
    expect((await post(both, `/mcp/${namespace}/legacy`, call('delete_issue'))).status).toBe(200);
    expect((await post(both, `/mcp/${namespace}/other`, call('delete_issue'))).status).toBe(403);
    expect((await post(both, `/mcp/${namespace}/other`, call('get_issue'))).status).toBe(200);
  });

  test('narrows what was minted from it', async () => {
    const parent = contract.sdk({ apiKey: await mint({ rpcReqMatch: reads }) });
    const { token } = await parent.tokens.create({ policy: [{ rpcReqMatch: { 'params.name': 'issue$' } }] });
    const path = `/mcp/${namespace}/legacy`;
    expect((await post(token, path, call('get_issue'))).status).toBe(200);
    expect((await post(token, path, call('delete_issue'))).status).toBe(403);
    const { token: same } = await parent.tokens.create({});
    expect((await post(same, path, call('delete_issue'))).status).toBe(403);
  });

  test('lets the MCP SDK work where it permits the handshake', async () => {
    const handshake = { method: '^(initialize|notifications/.*|tools/list)$' };
    const token = await mint({ rpcReqMatch: handshake }, { rpcReqMatch: reads });
    const transport = new StreamableHTTPClientTransport(new URL(`${contract.url}/mcp/${namespace}/legacy`), {
      requestInit: { headers: { authorization: `Bearer ${token}` } },
    });
    const client = new Client({ name: 'test', version: '1' });
    await client.connect(transport);
    expect((await client.listTools()).tools).toHaveLength(2);
    expect(await client.callTool({ name: 'get_issue' })).toMatchObject({ content: [{ text: 'get_issue' }] });
    await expect(client.callTool({ name: 'delete_issue' })).rejects.toThrow();
    await client.close();
  });
});

describe('a body of two meanings', () => {
  test('is refused: a server may read another one than was decided on', async () => {
    const token = await mint({ rpcReqMatch: reads });
    const before = callsAt('legacy');
    const start = '{"jsonrpc":"2.0","id":1,';
    for (const body of [
      `${start}"method":"tools/list","method":"tools/call","params":{"name":"get_issue"}}`,
      `${start}"method":"tools/call","params":{"name":"delete_issue","name":"get_issue"}}`,
      `${start}"method":"tools/call","params":{"name":"delete_issue","n\\u0061me":"get_issue"}}`,
      `${start}"method":"tools/call","params":{"name":"get_issue","Name":"delete_issue"}}`,
      `${start}"method":"tools/call","params":{"name":"get_issue"},"param\u017f":{"name":"delete_issue"}}`,
      Buffer.from(`${start}"method":"tools/call","params":{"name":"get_\xff"}}`, 'latin1'),
    ]) {
      expect((await raw(token, body)).status).toBe(400);
    }
    const batch = `[${JSON.stringify(call('get_issue'))},${JSON.stringify(call('delete_issue'))}]`;
    expect((await raw(token, batch)).status).toBe(400);
    expect(callsAt('legacy')).toBe(before);
    // Whoever is not bound to requests sends what its server takes.
    const free = await mint({ operations: 'execute' });
    const twice = `${start}"method":"tools/call","params":{"name":"delete_issue","name":"get_issue"}}`;
    expect((await raw(free, twice)).status).toBe(200);
  });

  test('of two eras, whose headers say another thing, is refused', async () => {
    const token = await mint({ rpcReqMatch: reads });
    const _meta = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': {},
    };
    const json = rpc('tools/call', { name: 'get_issue', arguments: {}, _meta });
    const send = (name: string, method = 'tools/call') =>
      post(token, `/mcp/${namespace}/modern`, json, {
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': method,
        'mcp-name': name,
      });
    expect((await send('get_issue')).status).toBe(200);
    expect(await send('delete_issue')).toMatchObject({ status: 400, body: { error: { code: -32020 } } });
    expect(await send('get_issue', 'tools/list')).toMatchObject({ status: 400 });
  });

  test('a response that could pass for a request is refused', async () => {
    const token = await mint({ rpcReqMatch: { method: '^initialize$' } });
    const opened = await post(
      token,
      `/mcp/${namespace}/legacy`,
      rpc('initialize', {
        protocolVersion: '2025-11-25',
        capabilities: {},
        clientInfo: { name: 'test', version: '1' },
      }),
    );
    const session = { 'mcp-session-id': opened.headers.get('mcp-session-id') as string };
    const answer = { jsonrpc: '2.0', id: 1, result: {} };
    const params = { name: 'delete_issue' };
    const before = callsAt('legacy');
    const path = `/mcp/${namespace}/legacy`;
    await post(token, path, answer, session);
    expect(upstreams.legacy?.received.at(-1)?.message).toEqual(answer);
    expect(await post(token, path, { ...answer, Method: 'tools/call', params }, session)).toMatchObject({
      status: 400,
    });
    expect(callsAt('legacy')).toBe(before);
  });
});

describe('an rpcReqMatch that says nothing', () => {
  test.each([
    [{ rpcReqMatch: {} }, /rpcReqMatch/],
    [{ rpcReqMatch: { 'params..name': 'x' } }, /policy\.0\.rpcReqMatch\.params\.\.name: must be names/],
    [{ rpcReqMatch: { method: '(' } }, /policy\.0\.rpcReqMatch\.method: is no regular expression/],
    [{ rpcReqMatch: { method: '(?=a)' } }, /is no regular expression/],
    [{ rpcReqMatch: { method: 'x'.repeat(501) } }, /rpcReqMatch/],
    [{ rpcReqMatch: { ['x'.repeat(201)]: 'x' } }, /rpcReqMatch/],
    [{ rpcReqMatch: { method: '([a-z]{500}){2}'.repeat(3) } }, /compile to \d+ instructions/],
    [{ rpcReqMatch: { method: 'x' }, operations: 'read' as const }, /fits execute only/],
    [{ rpcReqMatch: { method: 'x' }, resources: 'servers' as const }, /fits connections only/],
  ])('is refused: %j', async (constraint, message) => {
    const answer = await refusal(contract.sdk().tokens.create({ policy: [constraint] }));
    expect(answer).toMatchObject({ status: 400, body: { message: expect.stringMatching(message) } });
  });
});
