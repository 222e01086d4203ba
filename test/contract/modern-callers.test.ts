import { Client, StreamableHTTPClientTransport, type SubscriptionFilter } from '@modelcontextprotocol/client';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type RealServer, startEverything, startEverythingOverSse } from '../fixtures/real-servers.ts';
import { type SessionServer, startSessionServer } from '../fixtures/session-server.ts';
import { until } from '../fixtures/until.ts';
import { useContract } from './harness.ts';

// Callers of the modern era in front of servers of the legacy one (mcp.md §5.1).

const contract = useContract();
const namespace = 'default';
const revision = '2026-07-28';
const meta = 'io.modelcontextprotocol/';
let everything: RealServer;
let fixture: SessionServer;
beforeAll(async () => {
  everything = await startEverything();
  fixture = await startSessionServer();
  const { connections } = contract.sdk();
  await connections.set('everything', { namespace, mcpUrl: everything.url });
  await connections.set('fixture', { namespace, mcpUrl: fixture.url });
});
afterAll(async () => {
  await everything?.stop();
  await fixture?.stop();
});

type Params = Record<string, unknown>;

const clients: Client[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
});

async function connect(
  id: string,
  { capabilities = {}, answers = {} }: { capabilities?: Params; answers?: Record<string, () => Params> } = {},
): Promise<{ client: Client; heard: { method: string; params?: Params | undefined }[] }> {
  const client = new Client(
    { name: 'modern', version: '1.0.0' },
    { capabilities, versionNegotiation: { mode: { pin: revision } } },
  );
  const heard: { method: string; params?: Params | undefined }[] = [];
  client.fallbackNotificationHandler = async (notification) => void heard.push(notification);
  for (const [method, answer] of Object.entries(answers)) {
    // Each method has its own type of answer; the test knows which it gives.
    client.setRequestHandler(method as 'roots/list', answer as () => { roots: [] });
  }
  const url = new URL(`${contract.url}/mcp/${namespace}/${id}`);
  const requestInit = { headers: { authorization: `Bearer ${contract.pb.key}` } };
  await client.connect(new StreamableHTTPClientTransport(url, { requestInit }));
  clients.push(client);
  return { client, heard };
}

function textOf(result: unknown): string {
  return (result as { content: { text?: string }[] }).content.map((part) => part.text ?? '').join('\n');
}

/** A request in a modern envelope, with the headers that go with it. */
function send(
  id: string,
  method: string,
  params: Params = {},
  options: { capabilities?: Params; logLevel?: string; headers?: Record<string, string> } = {},
) {
  const { capabilities = {}, logLevel, headers = {} } = options;
  const _meta: Params = {
    [`${meta}protocolVersion`]: revision,
    [`${meta}clientCapabilities`]: capabilities,
    ...(params._meta as Params | undefined),
  };
  if (logLevel) _meta[`${meta}logLevel`] = logLevel;
  return contract.request(`/mcp/${namespace}/${id}`, {
    method: 'POST',
    json: { jsonrpc: '2.0', id: 7, method, params: { ...params, _meta } },
    headers: {
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': revision,
      'mcp-method': method,
      ...(typeof params.name === 'string' ? { 'mcp-name': params.name } : {}),
      ...headers,
    },
  });
}

/** The messages of an event stream. */
function messagesOf(text: string): Params[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('data: '))
    .map((line) => JSON.parse(line.slice(6)) as Params);
}

const form = { elicitation: { form: {} } };

describe('the official client', () => {
  test('discovers the real server, lists and calls its tools', async () => {
    const { client } = await connect('everything');
    expect(client.getServerVersion()?.name).toBe('mcp-servers/everything');
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toEqual(expect.arrayContaining(['echo', 'get-sum']));
    expect(textOf(await client.callTool({ name: 'echo', arguments: { message: 'hi 🐙' } }))).toBe(
      'Echo: hi 🐙',
    );
    expect((await client.listResources()).resources.length).toBeGreaterThan(0);
    expect((await client.listPrompts()).prompts.length).toBeGreaterThan(0);
  });

  test('is told the progress of a call', async () => {
    const { client } = await connect('fixture');
    const seen: number[] = [];
    const result = await client.callTool(
      { name: 'count', arguments: { to: 3 } },
      { onprogress: ({ progress }) => seen.push(progress) },
    );
    expect(textOf(result)).toBe('counted to 3');
    expect(seen).toEqual([1, 2, 3]);
  });

  test.each([
    ['elicit', form, 'elicitation/create', { action: 'accept', content: { colour: 'green' } }],
    [
      'sample',
      { sampling: {} },
      'sampling/createMessage',
      { model: 'm', role: 'assistant', content: { type: 'text', text: 'me' }, stopReason: 'endTurn' },
    ],
    ['roots', { roots: {} }, 'roots/list', { roots: [{ uri: 'file:///home/ada', name: 'Ada' }] }],
  ])('answers what the tool %s asks', async (name, capabilities, method, answer) => {
    const { client } = await connect('fixture', { capabilities, answers: { [method]: () => answer } });
    const result = await client.callTool({ name, arguments: {} });
    expect(JSON.parse(textOf(result))).toEqual(answer);
  });

  test('listens: lists that change and resources that are touched', async () => {
    const { client, heard } = await connect('fixture');
    const filter: SubscriptionFilter = {
      toolsListChanged: true,
      resourcesListChanged: true,
      resourceSubscriptions: ['fixture://note'],
    };
    const subscription = await client.listen(filter);
    expect(subscription.honoredFilter).toEqual(filter);
    await client.callTool({ name: 'grow', arguments: {} });
    await until(() => heard.some(({ method }) => method === 'notifications/tools/list_changed'));
    await subscription.close();
  });
});

describe('in front of a server that speaks HTTP+SSE alone', () => {
  let server: RealServer;
  beforeAll(async () => {
    server = await startEverythingOverSse();
    await contract.sdk().connections.set('sse', { namespace, mcpUrl: server.url });
  });
  afterAll(() => server?.stop());

  test('the official client discovers it, calls its tools, and is asked', async () => {
    const answer = { action: 'accept', content: { name: 'Ada' } };
    const { client } = await connect('sse', {
      capabilities: form,
      answers: { 'elicitation/create': () => answer },
    });
    expect(client.getServerVersion()?.name).toBe('mcp-servers/everything');
    expect(textOf(await client.callTool({ name: 'echo', arguments: { message: 'hi' } }))).toBe('Echo: hi');
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toContain('trigger-elicitation-request');
    const asked = await client.callTool({ name: 'trigger-elicitation-request', arguments: {} });
    expect(textOf(asked)).toContain('Ada');
  });
});

describe('a request', () => {
  test('to discover tells what the server said of itself, and the revisions of the gateway', async () => {
    const { status, body } = await send('fixture', 'server/discover');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      id: 7,
      result: {
        resultType: 'complete',
        supportedVersions: [revision],
        capabilities: { tools: { listChanged: true }, logging: {} },
        ttlMs: 0,
        cacheScope: 'private',
        _meta: { [`${meta}serverInfo`]: { name: 'session-fixture', version: '1.0.0' } },
      },
    });
  });

  test('for a list gets it complete, and not to be kept', async () => {
    const { body } = await send('fixture', 'tools/list');
    expect(body).toMatchObject({
      id: 7,
      result: { resultType: 'complete', ttlMs: 0, cacheScope: 'private' },
    });
  });

  test.each(['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'no/such'])(
    '%s is no method of the era: 404',
    async (method) => {
      const { status, body } = await send('fixture', method, { uri: 'fixture://note' });
      expect(status).toBe(404);
      expect(body).toMatchObject({ id: 7, error: { code: -32601 } });
    },
  );

  test('gets log messages only with a log level, and then of that level', async () => {
    const params = { name: 'count', arguments: { to: 2 } };
    const quiet = await send('fixture', 'tools/call', params);
    expect(quiet.text).not.toContain('notifications/message');
    const { text } = await send('fixture', 'tools/call', params, { logLevel: 'warning' });
    const logged = messagesOf(text).filter(({ method }) => method === 'notifications/message');
    expect(logged.map(({ params }) => (params as Params).level)).toEqual(['warning', 'warning']);
  });

  test('whose headers differ from its body is refused with −32020', async () => {
    const params = { name: 'echo', arguments: { text: 'x' } };
    const { status, body } = await send('fixture', 'tools/call', params, {
      headers: { 'mcp-name': 'other' },
    });
    expect(status).toBe(400);
    expect(body).toMatchObject({ id: 7, error: { code: -32020 } });
  });

  test('is never asked what its client cannot answer', async () => {
    const { status, body } = await send('fixture', 'tools/call', { name: 'elicit', arguments: {} });
    expect(status).toBe(200);
    // The server itself refuses to ask: it knows what the caller declared.
    expect(body).toMatchObject({ result: { isError: true } });
  });

  test('that is a notification is accepted', async () => {
    const answer = await contract.request(`/mcp/${namespace}/fixture`, {
      method: 'POST',
      json: {
        jsonrpc: '2.0',
        method: 'notifications/whatever',
        params: { _meta: { [`${meta}protocolVersion`]: revision, [`${meta}clientCapabilities`]: {} } },
      },
      headers: { 'mcp-protocol-version': revision, 'mcp-method': 'notifications/whatever' },
    });
    expect(answer).toMatchObject({ status: 202, text: '' });
  });
});

describe('a question', () => {
  const call = { name: 'elicit', arguments: {} };

  async function ask(id = 'fixture'): Promise<{ requestState: string; key: string }> {
    const { body } = await send(id, 'tools/call', call, { capabilities: form });
    const { result } = body as { result: Params };
    expect(result).toMatchObject({ resultType: 'input_required', requestState: expect.any(String) });
    const [[key, request]] = Object.entries(result.inputRequests as Params) as [[string, unknown]];
    expect(request).toMatchObject({ method: 'elicitation/create', params: { message: 'Your colour?' } });
    return { requestState: result.requestState as string, key };
  }

  const answered = (key: string) => ({ [key]: { action: 'accept', content: { colour: 'blue' } } });

  test('is answered by a second request', async () => {
    const { requestState, key } = await ask();
    const params = { ...call, requestState, inputResponses: answered(key) };
    const { body } = await send('fixture', 'tools/call', params, { capabilities: form });
    expect(textOf((body as { result: unknown }).result)).toContain('blue');
  });

  test('is asked again when the answers lack it', async () => {
    const { requestState } = await ask();
    const params = { ...call, requestState, inputResponses: {} };
    const { body } = await send('fixture', 'tools/call', params, { capabilities: form });
    expect(body).toMatchObject({ result: { resultType: 'input_required' } });
  });

  test('takes its answers once: the second time the call is gone', async () => {
    const { requestState, key } = await ask();
    const params = { ...call, requestState, inputResponses: answered(key) };
    await send('fixture', 'tools/call', params, { capabilities: form });
    const { status, body } = await send('fixture', 'tools/call', params, { capabilities: form });
    expect(status).toBe(404);
    expect(body).toMatchObject({ error: { code: 40406 } });
  });

  test.each([
    ['another tool', { name: 'echo', arguments: {} }, 'fixture'],
    ['other arguments', { name: 'elicit', arguments: { more: true } }, 'fixture'],
    ['another connection', call, 'everything'],
  ])('has a state that is worth nothing for %s', async (_what, other, id) => {
    const { requestState, key } = await ask();
    const params = { ...other, requestState, inputResponses: answered(key) };
    const { status, body } = await send(id, 'tools/call', params, { capabilities: form });
    expect(status).toBe(400);
    expect(body).toMatchObject({ error: { message: expect.stringContaining('requestState') } });
  });

  test('has a state that cannot be forged', async () => {
    const { requestState, key } = await ask();
    const forged = `${requestState.slice(0, -2)}AA`;
    const params = { ...call, requestState: forged, inputResponses: answered(key) };
    expect((await send('fixture', 'tools/call', params, { capabilities: form })).status).toBe(400);
  });
});

test('a server that forgot its sessions gets new ones, and the caller notices nothing', async () => {
  const params = { name: 'echo', arguments: { text: 'before' } };
  expect(textOf(((await send('fixture', 'tools/call', params)).body as { result: unknown }).result)).toBe(
    'before',
  );
  fixture.forget();
  expect(textOf(((await send('fixture', 'tools/call', params)).body as { result: unknown }).result)).toBe(
    'before',
  );
});

test('calls that nothing can be asked of share one session; a call that may be asked has one for itself', async () => {
  fixture.forget();
  const params = { name: 'echo', arguments: { text: 'x' } };
  await Promise.all(Array.from({ length: 5 }, () => send('fixture', 'tools/call', params)));
  expect(fixture.sessions.size).toBe(1);
  const asking = [1, 2, 3].map(() =>
    send('fixture', 'tools/call', { name: 'elicit', arguments: {} }, { capabilities: form }),
  );
  await Promise.all(asking);
  expect(fixture.sessions.size).toBe(4);
});

test('a server that ends the stream of a call is asked for the rest of it', async () => {
  const { body, text } = await send('fixture', 'tools/call', { name: 'poll', arguments: {} });
  const answer = body ?? messagesOf(text).at(-1);
  expect(textOf((answer as { result: unknown }).result)).toBe('polled');
});

test('a caller that goes away has its call cancelled at the server', async () => {
  const leaving = new AbortController();
  const before = fixture.received.length;
  const body = {
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: {
      name: 'wait',
      arguments: {},
      _meta: { [`${meta}protocolVersion`]: revision, [`${meta}clientCapabilities`]: {} },
    },
  };
  const call = contract
    .request(`/mcp/${namespace}/fixture`, {
      method: 'POST',
      json: body,
      headers: { 'mcp-protocol-version': revision, 'mcp-method': 'tools/call', 'mcp-name': 'wait' },
      signal: leaving.signal,
    })
    .catch(() => undefined);
  const isSeen = (text: string) => fixture.received.slice(before).some((one) => one.body.includes(text));
  await until(() => isSeen('"wait"'));
  leaving.abort();
  await call;
  await until(() => isSeen('notifications/cancelled'));
});
