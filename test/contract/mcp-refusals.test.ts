import { beforeAll, describe, expect, test } from 'vitest';
import { legacyServer, sendJson, type Upstream } from '../fixtures/upstream.ts';
import { type RequestOptions, useContract } from './harness.ts';

const bodyLimit = 64 * 1024;
const contract = useContract({ limits: { mcpBodyBytes: bodyLimit } });
const namespace = 'default';
const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' };
let legacy: Upstream;

beforeAll(async () => {
  legacy = await contract.upstream(legacyServer({ sessions: true }).handler);
  await contract.sdk().connections.set('legacy', { namespace, mcpUrl: legacy.url });
});

/** Sends one body to the MCP endpoint of a connection. */
function post(connectionId: string, json: unknown, options: RequestOptions = {}) {
  return contract.request(`/connect/default/${connectionId}/mcp`, { method: 'POST', json, ...options });
}

describe('what the endpoint refuses, as JSON-RPC errors', () => {
  test.each(['GET', 'DELETE', 'PUT', 'PATCH'])('%s: 405 that allows POST', async (method) => {
    for (const path of ['/connect/default/legacy/mcp', '/default/legacy/mcp']) {
      for (const headers of [{}, { 'mcp-session-id': 'smithery-stateless' }]) {
        const answer = await contract.request(path, {
          method,
          headers: { accept: 'text/event-stream', ...headers },
        });
        expect(answer).toMatchObject({
          status: 405,
          body: { jsonrpc: '2.0', error: { code: expect.any(Number) } },
        });
        expect(answer.headers.get('allow')).toBe('POST');
      }
    }
  });

  test('a session id that nobody gave: 404 with the request’s id', async () => {
    const answer = await post('legacy', list, { headers: { 'mcp-session-id': 'invented' } });
    expect(answer).toMatchObject({
      status: 404,
      body: { id: 1, error: { message: expect.stringMatching(/session/i) } },
    });
  });

  test('a connection that does not exist: 404 with the request’s id', async () => {
    expect(await post('missing', list)).toMatchObject({ status: 404, body: { id: 1 } });
    expect(await post('.hidden', list)).toMatchObject({ status: 404, body: { id: 1 } });
  });

  test.each(['text/plain', 'application/x-www-form-urlencoded', ''])('content type %j: 415', async (type) => {
    const headers = type === '' ? {} : { 'content-type': type };
    // As bytes: fetch gives a text body a type of its own.
    const response = await fetch(`${contract.url}/connect/default/legacy/mcp`, {
      method: 'POST',
      body: Buffer.from(JSON.stringify(list)),
      headers: { authorization: `Bearer ${contract.pb.key}`, ...headers },
    });
    expect(response.status).toBe(415);
    expect(await response.json()).toMatchObject({ jsonrpc: '2.0', id: null, error: {} });
  });

  test('application/json with a charset is taken', async () => {
    const headers = { 'content-type': 'application/json; charset=utf-8' };
    expect((await post('legacy', list, { headers })).status).toBe(200);
  });

  test('a body over the limit: 413', async () => {
    const params = { name: 'echo', arguments: { text: 'x'.repeat(bodyLimit) } };
    const answer = await post('legacy', { ...list, method: 'tools/call', params });
    expect(answer).toMatchObject({ status: 413, body: { jsonrpc: '2.0', id: null } });
  });

  test.each<[what: string, body: string, code: number]>([
    ['bad JSON', '{"jsonrpc":"2.0",', -32700],
    ['an empty body', '', -32700],
    ['nesting 10,000 deep', `${'['.repeat(10_000)}${']'.repeat(10_000)}`, -32700],
    ['a batch', JSON.stringify([list, list]), -32600],
    ['an empty batch', '[]', -32600],
    ['a string', '"tools/list"', -32600],
    ['null', 'null', -32600],
    ['another version', JSON.stringify({ ...list, jsonrpc: '1.0' }), -32600],
    ['no version', JSON.stringify({ id: 1, method: 'tools/list' }), -32600],
    ['no method', JSON.stringify({ jsonrpc: '2.0', id: 1 }), -32600],
    ['a method that is no string', JSON.stringify({ ...list, method: 7 }), -32600],
    ['a response', JSON.stringify({ jsonrpc: '2.0', id: 1, result: {} }), -32600],
    ['an id that is an object', JSON.stringify({ ...list, id: {} }), -32600],
    ['the id null', JSON.stringify({ ...list, id: null }), -32600],
    ['two ids', '{"jsonrpc":"2.0","id":1,"method":"tools/list","id":2}', -32600],
    ['params that are no object', JSON.stringify({ ...list, params: 'x' }), -32600],
  ])('%s: 400', async (_what, body, code) => {
    legacy.received.length = 0;
    const answer = await post('legacy', undefined, { body, headers: { 'content-type': 'application/json' } });
    expect(answer).toMatchObject({ status: 400, body: { error: { code } } });
    expect(legacy.received).toEqual([]);
  });

  test('a protocol version header that is none: 400', async () => {
    const answer = await post('legacy', list, { headers: { 'mcp-protocol-version': 'latest' } });
    expect(answer).toMatchObject({ status: 400, body: { id: 1 } });
  });

  test('a browser page of another origin: 403, its own: not', async () => {
    const foreign = await post('legacy', list, { headers: { origin: 'https://evil.example' } });
    expect(foreign).toMatchObject({ status: 403, body: { jsonrpc: '2.0' } });
    for (const origin of [contract.url, 'http://localhost:3000']) {
      const own = await post('legacy', list, { headers: { origin } });
      expect(own.status).toBe(200);
      expect(own.headers.get('access-control-allow-origin')).toBe(origin);
    }
  });
});

describe('an upstream that fails', () => {
  test.each<[what: string, status: number, handler: Parameters<typeof contract.upstream>[0]]>([
    ['401', 502, (_request, response) => sendJson(response, 401, {})],
    ['500', 502, (_request, response) => sendJson(response, 500, {})],
    ['a closed line', 502, (_request, response) => void response.destroy()],
    [
      'HTML',
      502,
      (_request, response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<p>'),
    ],
  ])('with %s is %i with the request’s id, sent once', async (what, status, broken) => {
    const { handler } = legacyServer();
    let calls = 0;
    const own = await contract.upstream((request, response) => {
      if (request.message?.method !== 'tools/call') return handler(request, response);
      calls++;
      return broken(request, response);
    });
    const id = `breaks with ${what}`;
    await contract.sdk().connections.set(id, { namespace, mcpUrl: own.url });
    const call = { ...list, id: 'c', method: 'tools/call', params: { name: 'echo', arguments: {} } };
    const answer = await post(encodeURIComponent(id), call);
    expect(answer).toMatchObject({ status, body: { id: 'c', error: { message: expect.any(String) } } });
    expect(answer.headers.get('x-should-retry')).toBe('false');
    expect(calls).toBe(1);
  });
});
