import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AuditRow } from '../../src/platform/store/schema.ts';
import { until } from '../fixtures/until.ts';
import { legacyServer, modernServer, RpcError, type Upstream } from '../fixtures/upstream.ts';
import { type RequestOptions, useContract } from './harness.ts';

const contract = useContract({ limits: { auditFlushMs: 10, heldAnswerBytes: 2_048, healMinMs: 60_000 } });
const secret = () => `sentinel-${randomBytes(12).toString('hex')}`;
const sent = { argument: secret(), result: secret(), header: secret(), credential: secret(), meta: secret() };

let legacy: Upstream;
let events: Upstream;
let dead: Upstream;
let other: { key: string; organizationId: string };
let keyId: string;

const tools = [{ name: 'echo' }, { name: 'fail' }, { name: 'refuse' }, { name: 'large' }, { name: 'hang' }];
const call = (name: string) => {
  if (name === 'refuse') throw new RpcError(4711, sent.result);
  if (name === 'hang') return new Promise(() => {});
  const text = name === 'large' ? sent.result.repeat(200) : sent.result;
  return { content: [{ type: 'text', text }], isError: name === 'fail' };
};

beforeAll(async () => {
  const { connections } = contract.sdk();
  const headers = { 'x-api-key': sent.credential };
  legacy = await contract.upstream(legacyServer({ sessions: true, tools, call }).handler);
  events = await contract.upstream(legacyServer({ sse: true, tools, call }).handler);
  const modern = await contract.upstream(modernServer({ tools, call }).handler);
  dead = await contract.upstream(legacyServer({ tools, call }).handler);
  for (const [id, { url }] of Object.entries({ legacy, events, modern, dead })) {
    await connections.set(id, { namespace: 'default', mcpUrl: url, headers });
  }
  await dead.stop();
  other = await contract.pb.store.otherOrganization('elsewhere');
  const key = await contract.pb.store.db.selectFrom('api_keys').select('id').where('name', '!=', 'other');
  keyId = (await key.executeTakeFirstOrThrow()).id;
});

/** All rows that were ever written, in whatever column: nothing that callers or servers keep to themselves. */
afterAll(async () => {
  const rows = await contract.pb.store.db.selectFrom('audit').selectAll().execute();
  expect(rows.length).toBeGreaterThan(20);
  const text = JSON.stringify(rows);
  for (const value of [...Object.values(sent), contract.pb.key]) expect(text).not.toContain(value);
});

/** Sends a request under a trace of its own, and gives its answer and the row that it left. */
async function audited(
  path: string,
  options: RequestOptions = {},
): Promise<AuditRow & { answered: number; text: string }> {
  const traceId = randomBytes(16).toString('hex');
  const headers = { traceparent: `00-${traceId}-00f067aa0ba902b7-01`, 'x-own': sent.header };
  const answer = await contract.request(path, {
    ...options,
    headers: { ...headers, ...options.headers },
  });
  const row = await rowOf(traceId);
  return { ...row, answered: answer.status, text: answer.text };
}

function rowOf(traceId: string): Promise<AuditRow> {
  return until(() =>
    contract.pb.store.db.selectFrom('audit').selectAll().where('trace_id', '=', traceId).executeTakeFirst(),
  );
}

async function uidOf(id: string): Promise<string> {
  const { db } = contract.pb.store;
  return (await db.selectFrom('connections').select('uid').where('id', '=', id).executeTakeFirstOrThrow())
    .uid;
}

const toolCall = (name: string, more: Record<string, unknown> = {}) => ({
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name, arguments: { secret: sent.argument }, ...more },
});

const modernHeaders = (name: string) => ({
  'mcp-protocol-version': '2026-07-28',
  'mcp-method': 'tools/call',
  'mcp-name': name,
});
const envelope = {
  _meta: {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientInfo': { name: sent.meta, version: '1' },
    'io.modelcontextprotocol/clientCapabilities': {},
  },
};

describe('a call on the MCP endpoint of a connection', () => {
  test.each([
    ['legacy', undefined],
    ['events', undefined],
    ['modern', 'modern'],
    // Over the bridge between the eras.
    ['legacy', 'modern'],
    ['modern', undefined],
  ])('of an upstream that is %s leaves one row (caller: %s)', async (id, era) => {
    const before = Date.now();
    const json = toolCall('echo', era ? envelope : {});
    const path = `/connect/default/${id}/mcp`;
    const options = { method: 'POST', json, headers: era ? modernHeaders('echo') : {} };
    const { text, answered, ...row } = await audited(path, options);
    expect(answered).toBe(200);
    expect(text).toContain(sent.result);
    const { organization_id } = await contract.pb.store.db
      .selectFrom('namespaces')
      .select('organization_id')
      .where('name', '=', 'default')
      .executeTakeFirstOrThrow();
    expect(row).toEqual({
      id: expect.stringMatching(/^aud_/),
      time: expect.any(Number),
      organization_id,
      namespace: 'default',
      connection_uid: await uidOf(id),
      connection_id: id,
      principal_kind: 'api_key',
      key_id: keyId,
      token_id: null,
      user_id: null,
      method: 'tools/call',
      tool: 'echo',
      outcome: 'ok',
      code: null,
      status: 200,
      duration_ms: expect.any(Number),
      bytes_in: Buffer.byteLength(JSON.stringify(json)),
      bytes_out: Buffer.byteLength(text),
      trace_id: expect.any(String),
      detail: null,
    });
    expect(row.time).toBeGreaterThanOrEqual(before);
    expect(row.time + row.duration_ms).toBeLessThanOrEqual(Date.now() + 1);
    const rows = await contract.pb.store.db
      .selectFrom('audit')
      .select('id')
      .where('trace_id', '=', row.trace_id)
      .execute();
    expect(rows).toHaveLength(1);
  });

  test.each([
    ['legacy', 'modern'],
    ['modern', undefined],
  ])('over the bridge to an upstream that is %s says how the tool did', async (id, era) => {
    const path = `/connect/default/${id}/mcp`;
    const callOf = (name: string) =>
      audited(path, {
        method: 'POST',
        json: toolCall(name, era ? envelope : {}),
        headers: era ? modernHeaders(name) : {},
      });
    expect(await callOf('refuse')).toMatchObject({ tool: 'refuse', outcome: 'rpc_error', code: '4711' });
    expect(await callOf('fail')).toMatchObject({ tool: 'fail', outcome: 'tool_error', code: null });
  });

  test('counts the bytes of an answer that is too large to be held back', async () => {
    const row = await audited('/mcp/default/legacy', { method: 'POST', json: toolCall('large') });
    expect(row.text.length).toBeGreaterThan(2_048);
    expect(row).toMatchObject({ bytes_out: row.text.length, outcome: 'ok' });
  });

  test.each(['legacy', 'events', 'modern'])('answered with an error by %s says its number', async (id) => {
    const modern = id === 'modern';
    const row = await audited(`/connect/default/${id}/mcp`, {
      method: 'POST',
      json: toolCall('refuse', modern ? envelope : {}),
      headers: modern ? modernHeaders('refuse') : {},
    });
    expect(row.text).toContain('4711');
    // Events go by unread, unless they come in a session that may be lost.
    const expected = id === 'events' ? { outcome: 'ok' } : { outcome: 'rpc_error', code: '4711' };
    expect(row).toMatchObject({ ...expected, status: 200, tool: 'refuse', bytes_out: row.text.length });
  });

  test.each([
    [
      'what is no JSON',
      'legacy',
      { body: '{"secret":' },
      { method: 'POST', code: 'invalid_json', status: 400 },
    ],
    ['what is no message', 'legacy', { json: [] }, { method: 'POST', code: 'invalid_message', status: 400 }],
    [
      'a connection that is not there',
      'nowhere',
      { json: toolCall('echo') },
      { method: 'tools/call', code: 'connection_not_found', status: 404, connection_uid: null },
    ],
    [
      'an upstream that is dead',
      'dead',
      { json: toolCall('echo') },
      { method: 'tools/call', tool: 'echo', code: 'upstream_failed', status: 502 },
    ],
    [
      'another media type',
      'legacy',
      { body: 'x', headers: { 'content-type': 'text/plain' } },
      { method: 'POST', code: 'unsupported_media_type', status: 415 },
    ],
  ])('with %s says what it failed of', async (_what, id, options, expected) => {
    const headers = { 'content-type': 'application/json', ...(options as RequestOptions).headers };
    const row = await audited(`/connect/default/${id}/mcp`, { method: 'POST', ...options, headers });
    expect(row).toMatchObject({
      ...expected,
      outcome: 'failed',
      connection_id: id,
      bytes_out: row.text.length,
    });
    expect(row.answered).toBe(expected.status);
  });

  test('of a caller that goes away is cancelled', async () => {
    const traceId = randomBytes(16).toString('hex');
    const controller = new AbortController();
    const before = legacy.received.length;
    const going = contract.request('/connect/default/legacy/mcp', {
      method: 'POST',
      json: toolCall('hang'),
      headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` },
      signal: controller.signal,
    });
    going.catch(() => {});
    await until(() => legacy.received.length > before);
    controller.abort();
    await expect(going).rejects.toThrow();
    expect(await rowOf(traceId)).toMatchObject({
      outcome: 'cancelled',
      tool: 'hang',
      status: null,
      bytes_out: 0,
    });
  });

  test('whose upstream breaks off in the middle has failed', async () => {
    const breaking = await contract.upstream(legacyServer({ tools, call }).handler);
    await contract.sdk().connections.set('breaking', { namespace: 'default', mcpUrl: breaking.url });
    breaking.handle((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: {"jsonrpc":"2.0","method":"notifications/message"}\n\n');
      setImmediate(() => response.destroy());
    });
    const row = await audited('/connect/default/breaking/mcp', { method: 'POST', json: toolCall('echo') });
    expect(row).toMatchObject({ answered: 200, outcome: 'failed', code: 'upstream_failed', status: 200 });
  });

  test('in a session of its own has a row for each of its messages, the end too', async () => {
    const path = '/connect/default/legacy/mcp';
    const initialize = {
      jsonrpc: '2.0',
      id: 0,
      method: 'initialize',
      params: {
        protocolVersion: '2025-11-25',
        capabilities: {},
        clientInfo: { name: sent.meta, version: '1' },
      },
    };
    const opened = await contract.request(path, { method: 'POST', json: initialize });
    const headers = { 'mcp-session-id': opened.headers.get('mcp-session-id') ?? '' };
    const post = (json: unknown) => audited(path, { method: 'POST', json, headers });
    expect(await post({ jsonrpc: '2.0', method: 'notifications/initialized' })).toMatchObject({
      method: 'notifications/initialized',
      outcome: 'ok',
      status: 202,
      bytes_out: 0,
    });
    expect(await post({ jsonrpc: '2.0', id: 9, result: { secret: sent.argument } })).toMatchObject({
      method: 'response',
      tool: null,
    });
    expect(await audited(path, { headers })).toMatchObject({ method: 'GET', code: 'method_not_allowed' });
    expect(await audited(path, { method: 'DELETE', headers })).toMatchObject({
      method: 'DELETE',
      status: 204,
    });
    expect(await post(toolCall('echo'))).toMatchObject({ outcome: 'failed', code: 'session_not_found' });
  });
});

describe('a call of .tools', () => {
  const path = '/connect/default/legacy/.tools';

  test.each([
    ['echo', { outcome: 'ok', code: null, status: 200 }],
    ['fail', { outcome: 'tool_error', code: null, status: 200 }],
    ['refuse', { outcome: 'failed', code: 'tool_error', status: 422 }],
    ['nothing', { outcome: 'failed', code: 'tool_not_found', status: 404 }],
  ])('of %s leaves one row', async (tool, expected) => {
    const json = { secret: sent.argument };
    const row = await audited(`${path}/${tool}`, { method: 'POST', json });
    expect(row).toMatchObject({
      ...expected,
      method: 'tools/call',
      tool,
      connection_id: 'legacy',
      connection_uid: await uidOf('legacy'),
      key_id: keyId,
      bytes_in: JSON.stringify(json).length,
      bytes_out: row.text.length,
    });
  });

  test.each([
    ['of a connection', path, 'legacy'],
    ['that names one tool', `${path}/echo`, 'legacy'],
    ['of a namespace', '/connect/default/.tools', null],
  ])('for the list %s is tools/list', async (_which, listed, connectionId) => {
    expect(await audited(listed)).toMatchObject({
      method: 'tools/list',
      tool: null,
      connection_id: connectionId,
      outcome: 'ok',
      status: 200,
      bytes_in: 0,
    });
  });
});

describe('a call on the MCP endpoint of a namespace', () => {
  const post = (json: unknown) => audited('/mcp/default', { method: 'POST', json });

  test.each([
    ['echo', { outcome: 'ok', code: null }],
    ['fail', { outcome: 'tool_error', code: null }],
    ['refuse', { outcome: 'rpc_error', code: '4711' }],
  ])('says of the tool %s whose it is', async (tool, expected) => {
    const row = await post(toolCall(`legacy.${tool}`));
    expect(row).toMatchObject({
      ...expected,
      method: 'tools/call',
      namespace: 'default',
      connection_id: 'legacy',
      connection_uid: await uidOf('legacy'),
      tool,
      status: 200,
      bytes_out: row.text.length,
    });
  });

  test.each([
    ['tools/list', { outcome: 'ok', tool: null }],
    ['nothing/known', { outcome: 'failed', code: 'method_not_found' }],
  ])('for %s has no connection', async (method, expected) => {
    const row = await post({ jsonrpc: '2.0', id: 1, method });
    expect(row).toMatchObject({ ...expected, method, connection_id: null, status: 200 });
  });

  test('of a tool that nobody has keeps the name that was asked for', async () => {
    expect(await post(toolCall('legacy.nothing'))).toMatchObject({
      tool: 'legacy.nothing',
      outcome: 'rpc_error',
      code: '-32602',
      connection_id: null,
    });
  });
});

test('whoever is not let in leaves no row, and one in each organization tells the two apart', async () => {
  const { db } = contract.pb.store;
  const path = '/connect/default/legacy/mcp';
  const options = { method: 'POST', json: toolCall('echo') };
  const traceparent = (id: string) => ({ traceparent: `00-${id}-00f067aa0ba902b7-01` });
  const refused = ['1', '2', '3'].map((digit) => digit.repeat(32));
  for (const [index, key] of [null, 'wrong', other.key].entries()) {
    const { status } = await contract.request(path, {
      ...options,
      key,
      headers: traceparent(refused[index] as string),
    });
    expect(status).toBe(key === other.key ? 404 : 401);
  }
  const row = await audited('/connect/elsewhere/none/mcp', { ...options, key: other.key });
  expect(row).toMatchObject({ organization_id: other.organizationId, namespace: 'elsewhere' });
  expect(row.key_id).not.toBe(keyId);
  // What came before it would be there by now.
  const rows = await db.selectFrom('audit').select('id').where('trace_id', 'in', refused).execute();
  expect(rows).toEqual([]);
});
