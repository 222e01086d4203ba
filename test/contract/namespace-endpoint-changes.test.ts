import { mkdtemp, rm } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, testsOnPostgres } from '../fixtures/database.ts';
import { type EventReader, readEvents } from '../fixtures/event-reader.ts';
import { startPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';
import { legacyServer } from '../fixtures/upstream.ts';
import { useContract } from './harness.ts';

/** What a client hears of changes in a namespace, and what the session of a legacy client is good for. */
const contract = useContract({ limits: { healMinMs: 60_000, healMaxMs: 60_000, listChangePauseMs: 20 } });
const version = '2026-07-28';
const all = ['tools', 'prompts', 'resources'].map((list) => `notifications/${list}/list_changed`);
const asked = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true };
const subscriptionKey = 'io.modelcontextprotocol/subscriptionId';

let namespace: string;
let readers: EventReader[];
beforeEach(async () => {
  readers = [];
  namespace = (await contract.sdk().namespaces.create()).name;
});
afterEach(() => {
  for (const reader of readers) reader.leave();
});

const auth = (key: string) => ({ authorization: `Bearer ${key}`, 'content-type': 'application/json' });
const rpc = (method: string, params?: unknown, id: string | number = 'r') => ({
  jsonrpc: '2.0',
  id,
  method,
  params,
});

async function open(init: RequestInit, query = '', url = contract.url): Promise<EventReader> {
  const reader = await readEvents(`${url}/mcp/${namespace}${query}`, init);
  readers.push(reader);
  return reader;
}

async function listen(notifications: object = asked, query = '', url = contract.url, key = contract.pb.key) {
  const method = 'subscriptions/listen';
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': version,
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const headers = { ...auth(key), 'mcp-protocol-version': version, 'mcp-method': method };
  const body = JSON.stringify(rpc(method, { notifications, _meta }, 'listener'));
  const reader = await open({ method: 'POST', headers, body }, query, url);
  await until(() => reader.messages.length > 0);
  return reader;
}

async function initialize(query = ''): Promise<string> {
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } };
  const answer = await contract.request(`/mcp/${namespace}${query}`, {
    method: 'POST',
    json: rpc('initialize', params),
  });
  return answer.headers.get('mcp-session-id') as string;
}

const stream = (session: string, query = '') =>
  open(
    { headers: { ...auth(contract.pb.key), accept: 'text/event-stream', 'mcp-session-id': session } },
    query,
  );
const methodsOf = ({ messages }: EventReader) => messages.map(({ method }) => method);
const connect = async (id: string, url?: string) =>
  contract
    .sdk()
    .connections.set(id, { namespace, mcpUrl: url ?? (await contract.upstream(legacyServer().handler)).url });

/** What follows the acknowledgement. */
const told = (reader: EventReader) => methodsOf(reader).slice(1);

describe('subscriptions/listen', () => {
  test('acknowledges what it honours, and tells of a connection that comes and goes', async () => {
    const reader = await listen({ ...asked, resourceSubscriptions: ['x:y'] });
    expect(reader.messages).toEqual([
      {
        jsonrpc: '2.0',
        method: 'notifications/subscriptions/acknowledged',
        params: { notifications: asked, _meta: { [subscriptionKey]: 'listener' } },
      },
    ]);
    await connect('one');
    await until(() => told(reader).length === 3);
    expect(told(reader)).toEqual(all);
    expect(reader.messages[1]?.params).toEqual({ _meta: { [subscriptionKey]: 'listener' } });
    await contract.sdk().connections.delete('one', { namespace });
    await until(() => told(reader).length === 6);
  });

  test('tells only what was asked for', async () => {
    const reader = await listen({ promptsListChanged: true, toolsListChanged: false });
    const other = await listen({});
    const last = await listen();
    await connect('one');
    await until(() => told(last).length === 3);
    expect(told(reader)).toEqual(['notifications/prompts/list_changed']);
    expect(told(other)).toEqual([]);
  });

  test('does not tell of tools where three stand for all', async () => {
    const reader = await listen(asked, '?search=1');
    expect(reader.messages[0]).toMatchObject({
      params: { notifications: { promptsListChanged: true, resourcesListChanged: true } },
    });
    await connect('one');
    await until(() => told(reader).length === 2);
    expect(told(reader)).toEqual(all.slice(1));
  });

  test('tells when a connection fails, when it works again, and when it gets another target', async () => {
    const { connections } = contract.sdk();
    const upstream = await contract.upstream(legacyServer().handler);
    await connect('one', upstream.url);
    const reader = await listen();
    await upstream.stop();
    expect(await connections.set('one', { namespace })).toMatchObject({ status: { state: 'error' } });
    await until(() => told(reader).length === 3);
    await upstream.start();
    expect(await connections.set('one', { namespace })).toMatchObject({ status: { state: 'connected' } });
    await until(() => told(reader).length === 6);
    await connections.set('one', { namespace, headers: { 'x-key': 'other' } });
    await until(() => told(reader).length === 9);
  });

  test('is silent about what changes no list, and about other namespaces', async () => {
    await connect('one');
    const reader = await listen();
    const { connections, namespaces } = contract.sdk();
    await connections.set('one', { namespace, metadata: { userId: 'ada' } });
    const { name: other } = await namespaces.create();
    const { url } = await contract.upstream(legacyServer().handler);
    await connections.set('elsewhere', { namespace: other, mcpUrl: url });
    // What is told next is the first that is told.
    await connect('two');
    await until(() => told(reader).length >= 3);
    expect(told(reader)).toEqual(all);
  });

  test('passes on what a server says of its own list', async () => {
    const { handler } = legacyServer({ sessions: true });
    const streams: ServerResponse[] = [];
    const upstream = await contract.upstream((request, response) => {
      if (request.method !== 'GET') return handler(request, response);
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      streams.push(response);
    });
    await connect('one', upstream.url);
    const reader = await listen();
    // A modern caller in front of a legacy server: the bridge has a session there, and hears its stream.
    const _meta = {
      'io.modelcontextprotocol/protocolVersion': version,
      'io.modelcontextprotocol/clientCapabilities': {},
    };
    const headers = { 'mcp-protocol-version': version, 'mcp-method': 'tools/list' };
    const json = rpc('tools/list', { _meta });
    await contract.request(`/mcp/${namespace}/one`, { method: 'POST', json, headers });
    await until(() => streams.length > 0);
    const said = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/prompts/list_changed' });
    for (const one of streams) one.write(`data: ${said}\n\n`);
    await until(() => told(reader).length > 0);
    expect(new Set(told(reader))).toEqual(new Set(['notifications/prompts/list_changed']));
  });

  test('ends with a result when the namespace goes', async () => {
    const reader = await listen();
    await contract.sdk().namespaces.delete(namespace);
    await reader.ended;
    expect(reader.messages.at(-1)).toEqual({
      jsonrpc: '2.0',
      id: 'listener',
      result: { resultType: 'complete', _meta: { [subscriptionKey]: 'listener' } },
    });
  });
});

// What one SQLite file allows is one process.
test.runIf(testsOnPostgres)(
  'changes that another process makes are heard, and what ends there ends here',
  async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'patchbay-two-'));
    const database = await createTestDatabase(dataDir);
    const options = {
      database,
      env: { PATCHBAY_API_KEY: 'one-key-for-both-processes' },
      limits: { listChangePauseMs: 20 },
    };
    const one = await startPatchbay(options);
    const other = await startPatchbay(options);
    try {
      namespace = 'default';
      const reader = await listen(asked, '', one.url, one.key);
      const { url: mcpUrl } = await contract.upstream(legacyServer().handler);
      await other.sdk().connections.set('one', { namespace, mcpUrl });
      await until(() => told(reader).length === 3);
      expect(told(reader)).toEqual(all);
      const params = {
        protocolVersion: '2025-11-25',
        capabilities: {},
        clientInfo: { name: 'x', version: '1' },
      };
      const json = rpc('initialize', params);
      const initialized = await other.request('/mcp/default', { method: 'POST', json });
      const headers = { 'mcp-session-id': initialized.headers.get('mcp-session-id') as string };
      const session = await open({ headers: { ...auth(one.key), ...headers } }, '', one.url);
      expect((await other.request('/mcp/default', { method: 'DELETE', headers })).status).toBe(204);
      await session.ended;
    } finally {
      for (const reader of readers) reader.leave();
      await other.stop();
      await one.stop();
      await database.drop();
      await rm(dataDir, { recursive: true, force: true });
    }
  },
);

describe('the session of a legacy caller', () => {
  test('has a stream that tells of changes', async () => {
    const session = await initialize();
    const reader = await stream(session);
    expect(reader.response.headers.get('content-type')).toBe('text/event-stream');
    await connect('one');
    await until(() => reader.messages.length === 3);
    expect(reader.messages).toEqual(all.map((method) => ({ jsonrpc: '2.0', method })));
  });

  test('ends with DELETE, its stream too', async () => {
    const session = await initialize();
    const reader = await stream(session);
    const headers = { 'mcp-session-id': session };
    const end = () => contract.request(`/mcp/${namespace}`, { method: 'DELETE', headers });
    expect(await end()).toMatchObject({ status: 204, text: '' });
    await reader.ended;
    expect((await end()).status).toBe(404);
    const json = rpc('ping');
    expect((await contract.request(`/mcp/${namespace}`, { method: 'POST', json, headers })).status).toBe(404);
  });

  test('is none in another namespace, at a connection, or for another organization', async () => {
    const session = await initialize();
    await connect('one');
    const own = namespace;
    const { name: other } = await contract.sdk().namespaces.create();
    const headers = { 'mcp-session-id': session };
    const json = rpc('ping');
    const post = (path: string) => contract.request(path, { method: 'POST', json, headers });
    expect((await post(`/mcp/${own}`)).status).toBe(200);
    expect((await post(`/mcp/${other}`)).status).toBe(404);
    expect((await post(`/mcp/${own}/one`)).status).toBe(404);
    expect((await contract.request(`/mcp/${other}`, { headers })).status).toBe(404);
  });

  test('lets its caller cancel a call by notification', async () => {
    const { handler } = legacyServer({ sessions: true });
    const upstream = await contract.upstream((request, response) =>
      request.message?.method === 'tools/call' ? undefined : handler(request, response),
    );
    await connect('stuck', upstream.url);
    const headers = { 'mcp-session-id': await initialize() };
    const post = (json: unknown) => contract.request(`/mcp/${namespace}`, { method: 'POST', json, headers });
    const methods = () => upstream.received.map(({ message }) => message?.method);
    const call = post(rpc('tools/call', { name: 'stuck.echo' }, 9));
    await until(() => methods().includes('tools/call'));
    // Of no call that runs: nothing happens.
    await post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 8 } });
    await post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 9 } });
    expect(await call).toMatchObject({ status: 200, text: '' });
    await until(() => methods().includes('notifications/cancelled'));
  });
});
