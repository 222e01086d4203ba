import {
  Client,
  type ClientOptions,
  StreamableHTTPClientTransport,
  UriTemplate,
} from '@modelcontextprotocol/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addPrompts } from '../conformance/server/fixture/prompts.ts';
import { addResources } from '../conformance/server/fixture/resources.ts';
import { type RealServer, startEverything } from '../fixtures/real-servers.ts';
import { legacyServer, type Upstream } from '../fixtures/upstream.ts';
import { useContract } from './harness.ts';
import { startSdkUpstream } from './sdk-upstream.ts';
import { setupUrlOf, storeStatus } from './stored-status.ts';

/** Prompts, resources and completions of a namespace: a real legacy server, a real modern one, and some that have none. */
const contract = useContract({
  limits: { healMinMs: 60_000, healMaxMs: 60_000, namespaceEndpointMs: 5_000 },
});
const namespace = 'default';
let everything: RealServer;
let modern: Awaited<ReturnType<typeof startSdkUpstream>>;
let plain: Upstream;
let dead: Upstream;

beforeAll(async () => {
  const { connections } = contract.sdk();
  everything = await startEverything();
  modern = await startSdkUpstream('reject', (mcp) => {
    addPrompts(mcp);
    addResources(mcp);
  });
  plain = await contract.upstream(legacyServer().handler);
  dead = await contract.upstream(legacyServer().handler);
  for (const [id, url] of [
    ['every', everything.url],
    ['a/B.c', everything.url],
    ['modern', modern.url],
    ['plain', plain.url],
    ['dead', dead.url],
    ['waits', dead.url],
  ] as const) {
    await connections.set(id, { namespace, mcpUrl: url });
  }
  await storeStatus(contract, 'waits', { state: 'auth_required' });
  await dead.stop();
});
afterAll(async () => {
  await modern?.stop();
  await everything?.stop();
});

const post = (method: string, params?: unknown, headers: Record<string, string> = {}) =>
  contract.request(`/mcp/${namespace}`, {
    method: 'POST',
    json: { jsonrpc: '2.0', id: 7, method, params },
    headers,
  });
const modernMeta = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
};
const postModern = (method: string, params: object, headers: Record<string, string> = {}) =>
  post(
    method,
    { ...params, _meta: modernMeta },
    { 'mcp-protocol-version': '2026-07-28', 'mcp-method': method, ...headers },
  );
const at = (id: string, uri: string) => `patchbay://connection/${encodeURIComponent(id)}/${uri}`;
const authorization = () => ({ requestInit: { headers: { authorization: `Bearer ${contract.pb.key}` } } });

async function withClient<T>(
  mode: ClientOptions['versionNegotiation'],
  use: (client: Client) => Promise<T>,
): Promise<T> {
  const client = new Client({ name: 'contract', version: '1.0.0' }, mode ? { versionNegotiation: mode } : {});
  await client.connect(
    new StreamableHTTPClientTransport(new URL(`${contract.url}/mcp/${namespace}`), authorization()),
  );
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

describe.each(['2025-11-25', '2026-07-28'])('the MCP SDK’s client of %s', (revision) => {
  const mode = { mode: revision === '2025-11-25' ? ('legacy' as const) : { pin: revision } };

  test('lists prompts of all, and gets them by name', async () => {
    await withClient(mode, async (client) => {
      expect(client.getServerCapabilities()).toEqual({
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { listChanged: true },
        completions: {},
      });
      const { prompts, _meta } = await client.listPrompts();
      const names = prompts.map(({ name }) => name);
      expect(names).toEqual(expect.arrayContaining(['every.simple-prompt', 'modern.test_simple_prompt']));
      expect(_meta?.['patchbay/unavailable']).toEqual([
        {
          connectionId: 'dead',
          error: expect.stringMatching(/^(upstream_failed|circuit_open)$/),
          message: expect.any(String),
        },
        { connectionId: 'waits', error: 'auth_required', message: setupUrlOf(contract, 'waits') },
      ]);
      const alias = names.find((name) => name.startsWith('a-B-c-args-prompt')) as string;
      const got = await client.getPrompt({ name: alias, arguments: { city: 'Bern' } });
      expect(JSON.stringify(got.messages)).toContain('Bern');
      const name = 'modern.test_prompt_with_arguments';
      const other = await client.getPrompt({ name, arguments: { arg1: 'x', arg2: 'y' } });
      expect(JSON.stringify(other.messages)).toContain("arg1='x', arg2='y'");
      await expect(client.getPrompt({ name: 'every.none' })).rejects.toMatchObject({ code: -32602 });
    });
  });

  test('lists resources of all, and reads each', async () => {
    await withClient(mode, async (client) => {
      const { resources } = await client.listResources();
      expect(resources.length).toBeGreaterThanOrEqual(3 + 2 * 7);
      expect(new Set(resources.map(({ uri }) => uri)).size).toBe(resources.length);
      for (const { uri } of resources) {
        const { contents } = await client.readResource({ uri });
        expect(contents.map((one) => one.uri)).toEqual([uri]);
      }
    });
  });

  test('expands templates, and reads what comes of them', async () => {
    await withClient(mode, async (client) => {
      const { resourceTemplates } = await client.listResourceTemplates();
      const expand = (start: string, variables: Record<string, string>) => {
        const found = resourceTemplates.find(({ uriTemplate }) => uriTemplate.startsWith(start));
        return new UriTemplate(found?.uriTemplate as string).expand(variables);
      };
      const text = expand(at('a/B.c', 'demo://resource/dynamic/text/'), { resourceId: '7' });
      expect((await client.readResource({ uri: text })).contents).toMatchObject([
        { uri: text, text: expect.stringContaining('Resource 7') },
      ]);
      const data = expand(at('modern', 'test://template/'), { id: 'a b' });
      expect((await client.readResource({ uri: data })).contents).toMatchObject([
        { uri: data, text: expect.stringContaining('"templateTest":true') },
      ]);
    });
  });

  test('reads what tools and prompts name of their resources', async () => {
    await withClient(mode, async (client) => {
      const linked = await client.callTool({ name: 'every.get-resource-links', arguments: { count: 2 } });
      const uris = linked.content.flatMap((one) => (one.type === 'resource_link' ? [one.uri] : []));
      expect(uris).toHaveLength(2);
      for (const uri of uris) expect((await client.readResource({ uri })).contents).toMatchObject([{ uri }]);
      const name = 'every.resource-prompt';
      const prompt = await client.getPrompt({ name, arguments: { resourceType: 'Text', resourceId: '3' } });
      const embedded = prompt.messages.flatMap(({ content }) =>
        content.type === 'resource' ? [content.resource.uri] : [],
      );
      expect(embedded).toEqual([at('every', 'demo://resource/dynamic/text/3')]);
      expect((await client.readResource({ uri: embedded[0] as string })).contents).toHaveLength(1);
    });
  });

  test('completes arguments of prompts and of templates', async () => {
    await withClient(mode, async (client) => {
      const complete = async (
        ref: Parameters<typeof client.complete>[0]['ref'],
        name: string,
        value: string,
      ) => (await client.complete({ ref, argument: { name, value } })).completion.values;
      expect(
        await complete({ type: 'ref/prompt', name: 'every.completable-prompt' }, 'department', 'E'),
      ).toEqual(['Engineering']);
      expect(
        await complete({ type: 'ref/prompt', name: 'modern.test_prompt_with_arguments' }, 'arg1', 'pa'),
      ).toEqual(['paris', 'park', 'party']);
      const uri = at('every', 'demo://resource/dynamic/text/{resourceId}');
      expect(await complete({ type: 'ref/resource', uri }, 'resourceId', '1')).toEqual(['1']);
      expect(await complete({ type: 'ref/resource', uri: at('plain', 'x://{y}') }, 'y', '1')).toEqual([]);
    });
  });
});

describe('a server without prompts and resources', () => {
  test.each([
    ['prompts/list', 'prompts'],
    ['resources/list', 'resources'],
    ['resources/templates/list', 'resourceTemplates'],
  ])('has none in %s, and is not named for that', async (method, member) => {
    const { body } = await post(method);
    const { result } = body as { result: Record<string, { connectionId: string }[]> & { _meta: object } };
    expect(result[member]?.length).toBeGreaterThan(0);
    expect(JSON.stringify(result._meta)).not.toContain('"plain"');
    expect(await post(method, { cursor: 'x' })).toMatchObject({
      status: 400,
      body: { error: { code: -32602 } },
    });
  });
});

describe('resources/read', () => {
  test.each([
    'test://static-text',
    at('nowhere', 'test://static-text'),
    'patchbay://connection/every',
    at('.hidden', 'x:y'),
    'patchbay://connection/%00/x:y',
  ])('of %s is not found, in the words of each era', async (uri) => {
    expect(await post('resources/read', { uri })).toMatchObject({
      status: 200,
      body: { id: 7, error: { code: -32002, data: { uri } } },
    });
    expect(await postModern('resources/read', { uri }, { 'mcp-name': uri })).toMatchObject({
      status: 200,
      body: { id: 7, error: { code: -32602, data: { uri } } },
    });
  });

  test('passes what the server says of one that it does not have', async () => {
    const uri = at('modern', 'test://none');
    expect((await post('resources/read', { uri })).body).toMatchObject({ error: { code: -32002 } });
    expect((await postModern('resources/read', { uri }, { 'mcp-name': uri })).body).toMatchObject({
      error: { code: -32602 },
    });
  });

  test('answers like the connection’s own endpoint while that waits, or is dead', async () => {
    expect(await post('resources/read', { uri: at('waits', 'x:y') })).toMatchObject({
      status: 401,
      body: { id: 7, error: { code: -32001, data: { authorizationUrl: setupUrlOf(contract, 'waits') } } },
    });
    expect((await post('resources/read', { uri: at('dead', 'x:y') })).status).toBeGreaterThanOrEqual(502);
  });
});

test.each<[method: string, params: unknown, field: string]>([
  ['prompts/get', {}, 'params.name'],
  ['prompts/get', { name: 1 }, 'params.name'],
  ['resources/read', {}, 'params.uri'],
  ['resources/read', { uri: ['x'] }, 'params.uri'],
  ['completion/complete', {}, 'params.ref'],
  ['completion/complete', { ref: { type: 'ref/prompt' } }, 'params.ref'],
  ['completion/complete', { ref: { type: 'ref/other', name: 'x' } }, 'params.ref'],
])('%s refuses the params %j: 400', async (method, params, field) => {
  expect(await post(method, params)).toMatchObject({
    status: 400,
    body: { id: 7, error: { code: -32602, message: expect.stringContaining(field) } },
  });
});

test('a modern caller repeats what it names in Mcp-Name', async () => {
  const uri = at('modern', 'test://static-text');
  for (const headers of [{}, { 'mcp-name': 'test://static-text' }]) {
    expect(await postModern('resources/read', { uri }, headers as Record<string, string>)).toMatchObject({
      status: 400,
      body: { error: { code: -32020 } },
    });
  }
  const read = await postModern('resources/read', { uri }, { 'mcp-name': uri });
  expect(read.body).toMatchObject({ result: { resultType: 'complete', cacheScope: expect.any(String) } });
});

test('a server that asks its user something is refused, with words', async () => {
  expect(await post('prompts/get', { name: 'modern.test_input_required_result_prompt' })).toMatchObject({
    status: 422,
    body: { id: 7, error: { code: 42202, message: expect.stringContaining('endpoint') } },
  });
});
