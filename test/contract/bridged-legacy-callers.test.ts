import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type RunningUpstream, startUpstream } from '../conformance/server/stage.ts';
import { until } from '../fixtures/until.ts';
import { useContract } from './harness.ts';
import { type CallerOptions, editions, type LegacyCaller } from './legacy-callers.ts';
import { type Answers, type ScriptedModern, scriptedModern } from './scripted-modern.ts';

// Callers of the legacy era in front of servers of the modern one (mcp.md §5.1).

const contract = useContract();
const namespace = 'default';
const meta = 'io.modelcontextprotocol/';
type Params = Record<string, unknown>;

let fixture: RunningUpstream;
beforeAll(async () => {
  fixture = await startUpstream('modern');
  const { connections } = contract.sdk();
  await connections.set('modern', { namespace, mcpUrl: `http://127.0.0.1:${fixture.port}/mcp` });
});
afterAll(async () => {
  fixture?.process.kill();
  if (fixture?.process.exitCode === null) await once(fixture.process, 'exit');
});

const endpoint = (id: string) => `/mcp/${namespace}/${id}`;

describe.each(editions)('$edition', ({ connectCaller }) => {
  const callers: LegacyCaller[] = [];
  afterEach(async () => {
    for (const caller of callers.splice(0)) await caller.close();
  });

  async function connect(options?: CallerOptions): Promise<LegacyCaller> {
    const caller = await connectCaller(`${contract.url}${endpoint('modern')}`, contract.pb.key, options);
    callers.push(caller);
    return caller;
  }

  test('initializes, lists and calls tools', async () => {
    const caller = await connect();
    expect(caller.serverName()).toBe('conformance-fixture');
    expect(caller.sessionId()).toMatch(/^[\w-]+$/);
    expect(await caller.listTools()).toContain('test_simple_text');
    expect(await caller.call('test_simple_text')).toBe('This is a simple text response for testing.');
  });

  test('hears the progress of a call', async () => {
    const caller = await connect();
    const seen: number[] = [];
    await caller.call('test_tool_with_progress', {}, (progress) => seen.push(progress));
    expect(seen).toEqual([0, 50, 100]);
  });

  test('hears log messages from the level that it set', async () => {
    const caller = await connect();
    await caller.call('test_logging_tool');
    expect(caller.heard('notifications/message')).toEqual([]);
    await caller.setLoggingLevel('debug');
    await caller.call('test_logging_tool');
    expect(caller.heard('notifications/message')).toMatchObject([{ level: 'info' }]);
  });

  test('is asked for what it declared, and its answers reach the server', async () => {
    const answers = {
      'elicitation/create': () => ({ action: 'accept', content: { name: 'Ada' } }),
      'sampling/createMessage': () => ({
        model: 'm',
        role: 'assistant',
        content: { type: 'text', text: 'Paris' },
        stopReason: 'endTurn',
      }),
      'roots/list': () => ({ roots: [{ uri: 'file:///home/ada', name: 'Ada' }] }),
    };
    const capabilities = { elicitation: {}, sampling: {}, roots: {} };
    const caller = await connect({ capabilities, answers });
    expect(await caller.call('test_input_required_result_elicitation')).toBe('Hello, Ada!');
    expect(await caller.call('test_input_required_result_sampling')).toContain('Paris');
    expect(await caller.call('test_input_required_result_list_roots')).toContain('file:///home/ada');
    expect(await caller.call('test_input_required_result_multiple_inputs')).toContain('Ada, in 1 roots');
  });

  test('is told what it should have declared', async () => {
    const caller = await connect();
    await expect(caller.call('test_missing_capability')).rejects.toThrow(/client capability.*sampling/);
  });

  test('hears of changes on its stream', async () => {
    const caller = await connect();
    await until(async () => {
      await caller.call('test_trigger_tool_change');
      return caller.heard('notifications/tools/list_changed').length > 0;
    });
  });

  test('ends its session, which is none from then on', async () => {
    const caller = await connect();
    const id = caller.sessionId() as string;
    await caller.terminate();
    const answer = await contract.request(endpoint('modern'), {
      method: 'POST',
      json: { jsonrpc: '2.0', id: 1, method: 'ping' },
      headers: { 'mcp-session-id': id },
    });
    expect(answer).toMatchObject({ status: 404, body: { id: 1, error: { code: 40405 } } });
  });
});

async function scripted(id: string, answers: Answers): Promise<ScriptedModern> {
  const server = scriptedModern(answers);
  const upstream = await contract.upstream(server.handler);
  await contract.request(`/connect/${namespace}/${id}`, { method: 'DELETE' });
  await contract.sdk().connections.set(id, { namespace, mcpUrl: upstream.url });
  return server;
}

/** Sends one message in a session, or without. */
function post(id: string, json: unknown, session?: string, signal?: AbortSignal) {
  return contract.request(endpoint(id), {
    method: 'POST',
    json,
    headers: {
      accept: 'application/json, text/event-stream',
      ...(session ? { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' } : {}),
    },
    ...(signal ? { signal } : {}),
  });
}

async function initialize(id: string, capabilities: Params = {}, protocolVersion = '2025-11-25') {
  const params = { protocolVersion, capabilities, clientInfo: { name: 'raw', version: '1' } };
  const answer = await post(id, { jsonrpc: '2.0', id: 0, method: 'initialize', params });
  return { ...answer, session: answer.headers.get('mcp-session-id') as string };
}

const request = (method: string, params: Params = {}, id: unknown = 1) => ({
  jsonrpc: '2.0',
  id,
  method,
  params,
});

describe('initialize', () => {
  test.each([
    ['2025-11-25', '2025-11-25'],
    ['2025-06-18', '2025-06-18'],
    ['2024-11-05', '2024-11-05'],
    ['1999-01-01', '2025-11-25'],
  ])('that asks for %s agrees on %s, and tells what the server said of itself', async (asked, agreed) => {
    await scripted('scripted', {});
    const { body } = await initialize('scripted', {}, asked);
    expect(body).toMatchObject({
      id: 0,
      result: {
        protocolVersion: agreed,
        capabilities: { tools: {}, logging: {}, resources: { subscribe: true } },
        serverInfo: { name: 'scripted', version: '3' },
        instructions: 'Be kind.',
      },
    });
    expect((body as { result: Params }).result).not.toHaveProperty('resultType');
  });

  test('of a client that says too much of itself for a header is refused', async () => {
    await scripted('scripted', {});
    const { status, body } = await initialize('scripted', {
      experimental: { long: { text: 'x'.repeat(5000) } },
    });
    expect(status).toBe(400);
    expect(body).toMatchObject({ error: { message: expect.stringContaining('capabilities') } });
  });
});

describe('a request', () => {
  test('carries what the client declared, its log level and its mirrored headers', async () => {
    const tools = [
      {
        name: 'weather',
        inputSchema: { type: 'object', properties: { city: { type: 'string', 'x-mcp-header': 'City' } } },
      },
    ];
    const { asked } = await scripted('scripted', {
      'tools/list': () => ({ result: { resultType: 'complete', tools } }),
      'tools/call': () => ({ result: { resultType: 'complete', ttlMs: 5, content: [], unknown: 'kept' } }),
    });
    const { session } = await initialize('scripted', { sampling: {}, elicitation: {}, tasks: {} });
    await post('scripted', request('logging/setLevel', { level: 'warning' }), session);
    const params = { name: 'weather', arguments: { city: 'Zürich' }, _meta: { progressToken: 'p' } };
    const { body } = await post('scripted', request('tools/call', params, 'abc'), session);
    expect(body).toEqual({ jsonrpc: '2.0', id: 'abc', result: { content: [], unknown: 'kept' } });
    expect(asked.at(-1)).toMatchObject({
      params: {
        name: 'weather',
        arguments: { city: 'Zürich' },
        _meta: {
          progressToken: 'p',
          [`${meta}protocolVersion`]: '2026-07-28',
          [`${meta}clientCapabilities`]: { sampling: {}, elicitation: { form: {} } },
          [`${meta}clientInfo`]: { name: 'raw', version: '1' },
          [`${meta}logLevel`]: 'warning',
        },
      },
      headers: {
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': 'weather',
        'mcp-param-city': `=?base64?${Buffer.from('Zürich').toString('base64')}?=`,
      },
    });
    expect(asked.at(-1)?.headers).not.toHaveProperty('mcp-session-id');
  });

  test('without a session declares nothing', async () => {
    const { asked } = await scripted('scripted', {
      'prompts/list': () => ({ result: { resultType: 'complete', prompts: [] } }),
    });
    expect((await post('scripted', request('prompts/list'))).body).toMatchObject({ result: { prompts: [] } });
    expect(asked.at(-1)?.params._meta).toMatchObject({ [`${meta}clientCapabilities`]: {} });
  });

  test('ping is answered here', async () => {
    const { asked } = await scripted('scripted', {});
    expect((await post('scripted', request('ping'))).body).toEqual({ jsonrpc: '2.0', id: 1, result: {} });
    expect(asked).toEqual([]);
  });

  test('for a resource that is not there gets the code of its era', async () => {
    await scripted('scripted', {
      'resources/read': () => ({ error: { code: -32602, message: 'No', data: { uri: 'a:b' } } }),
    });
    const { status, body } = await post('scripted', request('resources/read', { uri: 'a:b' }));
    expect(status).toBe(200);
    expect(body).toMatchObject({ id: 1, error: { code: -32002 } });
  });

  test('of a method that the server does not know gets −32601 in a 200', async () => {
    await scripted('scripted', { 'no/such': () => ({ error: { code: -32601, message: 'No' } }) });
    const { status, body } = await post('scripted', request('no/such'));
    expect(status).toBe(200);
    expect(body).toMatchObject({ id: 1, error: { code: -32601 } });
  });

  test('that its client cancels ends at the server', async () => {
    const { asked, open } = await scripted('scripted', {});
    const { session } = await initialize('scripted');
    const call = post('scripted', request('prompts/get', { name: 'slow' }, 'slow-1'), session);
    await until(() => asked.some(({ method }) => method === 'prompts/get'));
    const cancel = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'slow-1' } };
    expect((await post('scripted', cancel, session)).status).toBe(202);
    expect((await call).text).toBe('');
    await until(() => open() === 0);
  });

  test('whose client goes away ends at the server', async () => {
    const { asked, open } = await scripted('scripted', {});
    const leaving = new AbortController();
    const call = post('scripted', request('prompts/get', { name: 'slow' }), undefined, leaving.signal);
    await until(() => asked.some(({ method }) => method === 'prompts/get'));
    leaving.abort();
    await call.catch(() => {});
    await until(() => open() === 0);
  });
});

describe('a session', () => {
  test.each([
    ['logging/setLevel', { level: 'debug' }],
    ['resources/subscribe', { uri: 'a:b' }],
  ])('is what %s takes', async (method, params) => {
    await scripted('scripted', {});
    const { status, body } = await post('scripted', request(method, params));
    expect(status).toBe(400);
    expect(body).toMatchObject({ error: { message: expect.stringContaining('initialize') } });
  });

  test('of one connection is none of another', async () => {
    await scripted('scripted', {});
    const { session } = await initialize('scripted');
    const { status } = await post('modern', request('ping'), session);
    expect(status).toBe(404);
  });

  test('has one listener for what it subscribes to, begun anew with each subscription', async () => {
    const { asked, open } = await scripted('scripted', {});
    const { session } = await initialize('scripted');
    const leaving = new AbortController();
    const stream = contract
      .request(endpoint('scripted'), {
        headers: { accept: 'text/event-stream', 'mcp-session-id': session },
        signal: leaving.signal,
      })
      .catch(() => undefined);
    const filters = () =>
      asked
        .filter(({ method }) => method === 'subscriptions/listen')
        .map(({ params }) => params.notifications);
    const lists = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true };
    await until(() => filters().length === 1);
    await post('scripted', request('resources/subscribe', { uri: 'a:b' }), session);
    await until(() => filters().length === 2 && open() === 1);
    await post('scripted', request('resources/unsubscribe', { uri: 'a:b' }), session);
    await until(() => filters().length === 3 && open() === 1);
    expect(filters()).toEqual([lists, { ...lists, resourceSubscriptions: ['a:b'] }, lists]);
    leaving.abort();
    await stream;
    await until(() => open() === 0);
  });
});

describe('a question', () => {
  const asks = (inputRequests: Params, requestState = 's') => ({
    result: { resultType: 'input_required', inputRequests, requestState },
  });

  /** Begins a call in a session, and reads its stream message by message. */
  async function begin(session: string, call: Params): Promise<AsyncIterator<Params>> {
    const response = await fetch(`${contract.url}${endpoint('scripted')}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${contract.pb.key}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-session-id': session,
      },
      body: JSON.stringify(call),
    });
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    return messages(response)[Symbol.asyncIterator]();
  }

  async function* messages(response: Response): AsyncGenerator<Params> {
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      text += decoder.decode(chunk, { stream: true });
      const events = text.split('\n\n');
      text = events.pop() as string;
      for (const event of events) {
        const data = /^data: (.*)$/m.exec(event)?.[1];
        if (data) yield JSON.parse(data);
      }
    }
  }

  test('of a page to open has an elicitation id, and the state comes back byte for byte', async () => {
    const state = '"\\u00e9 odd {}"';
    const url = {
      method: 'elicitation/create',
      params: { mode: 'url', message: 'Open it', url: 'https://x.test/' },
    };
    const { asked } = await scripted('scripted', {
      'prompts/get': ({ params }) =>
        params.requestState === undefined
          ? asks({ page: url }, state)
          : { result: { resultType: 'complete', messages: [] } },
    });
    const { session } = await initialize('scripted', { elicitation: { url: {} } });
    const stream = await begin(session, request('prompts/get', { name: 'p' }, 'c'));
    const question = (await stream.next()).value as { id: string; params: Params };
    expect(question).toMatchObject({
      method: 'elicitation/create',
      params: { ...url.params, elicitationId: expect.any(String) },
    });
    const reply = { jsonrpc: '2.0', id: question.id, result: { action: 'accept' } };
    expect((await post('scripted', reply, session)).status).toBe(202);
    expect((await stream.next()).value).toEqual({ jsonrpc: '2.0', id: 'c', result: { messages: [] } });
    expect(asked.at(-1)?.params).toMatchObject({
      name: 'p',
      requestState: state,
      inputResponses: { page: { action: 'accept' } },
    });
  });

  test('that the client refuses ends the call with its refusal', async () => {
    await scripted('scripted', {
      'prompts/get': () =>
        asks({ s: { method: 'sampling/createMessage', params: { messages: [], maxTokens: 1 } } }),
    });
    const { session } = await initialize('scripted', { sampling: {} });
    const stream = await begin(session, request('prompts/get', { name: 'p' }));
    const { id } = (await stream.next()).value as { id: string };
    const error = { code: -1, message: 'User rejected sampling request' };
    await post('scripted', { jsonrpc: '2.0', id, error }, session);
    expect((await stream.next()).value).toEqual({ jsonrpc: '2.0', id: 1, error });
  });

  test('cannot be answered in another session', async () => {
    await scripted('scripted', {
      'prompts/get': ({ params }) =>
        params.requestState === undefined
          ? asks({ r: { method: 'roots/list' } })
          : { result: { resultType: 'complete', answer: params.inputResponses } },
    });
    const mine = await initialize('scripted', { roots: {} });
    const other = await initialize('scripted', { roots: {} });
    const stream = await begin(mine.session, request('prompts/get', { name: 'p' }));
    const { id } = (await stream.next()).value as { id: string };
    const reply = (uri: string) => ({ jsonrpc: '2.0', id, result: { roots: [{ uri }] } });
    await post('scripted', reply('file:///theirs'), other.session);
    await post('scripted', reply('file:///mine'), mine.session);
    const { value } = await stream.next();
    expect(value).toMatchObject({ result: { answer: { r: { roots: [{ uri: 'file:///mine' }] } } } });
  });

  test('that never ends is ended here', async () => {
    await scripted('scripted', { 'prompts/get': () => asks({}) });
    const { session } = await initialize('scripted');
    const { body } = await post('scripted', request('prompts/get', { name: 'p' }), session);
    expect(body).toMatchObject({ error: { message: expect.stringMatching(/asked more than \d+ times/) } });
  });
});
