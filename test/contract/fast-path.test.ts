import diagnostics from 'node:diagnostics_channel';
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { portOf } from '../fixtures/fault.ts';
import { startPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';
import { legacyServer, modernServer, RpcError } from '../fixtures/upstream.ts';
import { type RequestOptions, useContract } from './harness.ts';

/**
 * A call in `/connect/{ns}/{id}/mcp` takes the fast path, if it is an ordinary one; in `/{ns}/{id}/mcp` it always goes
 * through the framework. Nobody may be able to tell.
 */
const contract = useContract({
  limits: { mcpBodyBytes: 4_096, auditFlushMs: 10, namespaceRequestsPerMinute: 100_000 },
});
const namespace = 'default';
const fast = (id: string, at = namespace) => `/connect/${at}/${id}/mcp`;
const framework = (id: string, at = namespace) => `/${at}/${id}/mcp`;
const traceId = (serial: number) => serial.toString(16).padStart(32, '1');

const message = (method: string, params: object = {}) => ({ jsonrpc: '2.0', id: 'mine', method, params });
const echo = message('tools/call', { name: 'echo', arguments: { text: 'ä€𝄞' } });
let readOnly: string;
let elsewhere: string;
let serial = 0;
/** Requests whose route the framework has run. */
let handled = 0;
const count = () => {
  handled++;
};
diagnostics.subscribe('tracing:fastify.request.handler:start', count);
afterEach(() => {
  handled = 0;
});

beforeAll(async () => {
  const call = (name: string) => {
    if (name === 'refuse') throw new RpcError(4711, 'no – never');
    return { content: [{ type: 'text', text: `${name}: ä€𝄞` }] };
  };
  const tools = [{ name: 'echo' }, { name: 'refuse' }];
  const servers = {
    legacy: legacyServer({ sessions: true, tools, call }),
    events: legacyServer({ sse: true, tools, call }),
    modern: modernServer({ tools, call }),
  };
  for (const [id, server] of Object.entries(servers)) {
    const { url } = await contract.upstream(server.handler);
    await contract.sdk().connections.set(id, { namespace, mcpUrl: url });
  }
  const other = await contract.pb.store.otherOrganization('elsewhere');
  elsewhere = other.key;
  readOnly = (
    await contract.sdk().tokens.create({ policy: [{ resources: 'connections', operations: 'read' }] })
  ).token;
  // What is remembered from here on.
  await post(fast('legacy'));
  await post(fast('legacy', 'elsewhere'), { key: elsewhere });
});

function post(path: string, options: RequestOptions = {}) {
  return contract.request(path, { method: 'POST', json: echo, ...options });
}

const traced = (trace: string) => ({ traceparent: `00-${trace}-00f067aa0ba902b7-01` });
const rowOf = (trace: string) =>
  contract.pb.store.db.selectFrom('audit').selectAll().where('trace_id', '=', trace).executeTakeFirst();

/** The answer without what no two answers share, and the row that it left in the audit, if it did. */
async function outcome(path: string, options: RequestOptions) {
  const [trace, next] = [traceId(++serial), traceId(++serial)];
  const { status, headers, text } = await post(path, {
    ...options,
    headers: { ...traced(trace), ...options.headers },
  });
  // Rows are written in the order of their ends.
  await post(framework('legacy'), { headers: traced(next) });
  await until(() => rowOf(next));
  const {
    id: _id,
    time: _time,
    trace_id: _trace,
    duration_ms: _duration,
    ...kept
  } = (await rowOf(trace)) ?? {};
  const { date: _date, ...answered } = Object.fromEntries(headers);
  return { status, headers: answered, text, kept };
}

const json = { 'content-type': 'application/json' };
const cases: [what: string, id: string, options: () => RequestOptions][] = [
  ['a call of a legacy server', 'legacy', () => ({})],
  ['a call answered with events', 'events', () => ({})],
  ['a call of a server of another era', 'modern', () => ({})],
  ['a JSON-RPC error', 'legacy', () => ({ json: message('tools/call', { name: 'refuse' }) })],
  ['a notification', 'legacy', () => ({ json: { jsonrpc: '2.0', method: 'notifications/progress' } })],
  [
    'initialize',
    'legacy',
    () => ({
      json: message('initialize', { protocolVersion: '2025-06-18' }),
      headers: { 'mcp-session-id': 'smithery-stateless' },
    }),
  ],
  ['a body that does not parse', 'legacy', () => ({ json: undefined, body: '{', headers: json })],
  ['a body of nothing', 'legacy', () => ({ json: undefined, body: '', headers: json })],
  ['a body over the limit', 'legacy', () => ({ json: message('tools/call', { x: 'x'.repeat(5_000) }) })],
  ['another content type', 'legacy', () => ({ headers: { 'content-type': 'text/plain' } })],
  ['a charset', 'legacy', () => ({ headers: { 'content-type': 'application/json; charset=utf-8' } })],
  ['a page of another origin', 'legacy', () => ({ headers: { origin: 'https://evil.example' } })],
  ['a page of an origin that is let in', 'legacy', () => ({ headers: { origin: 'http://localhost:3000' } })],
  ['no credential', 'legacy', () => ({ key: null })],
  ['a credential of nobody', 'legacy', () => ({ key: 'nobody' })],
  ['a credential that is none', 'legacy', () => ({ key: null, headers: { authorization: 'Basic eDp5' } })],
  ['a credential of another organization', 'legacy', () => ({ key: elsewhere })],
  ['a token that may read alone', 'legacy', () => ({ key: readOnly })],
  ['a connection that does not exist', 'missing', () => ({})],
  ['an invented session', 'legacy', () => ({ headers: { 'mcp-session-id': 'invented' } })],
];

describe('a call is answered, and audited, the same way on the fast path and by the framework', () => {
  test.each(cases)('%s', async (_what, id, options) => {
    // Both from memory: what the first of them has looked up, the other knows.
    await post(fast(id), options());
    const quick = await outcome(fast(id), options());
    const full = await outcome(framework(id), options());
    // Where the metadata of the resource is depends on its path (RFC 9728 §3.1).
    const challenge = quick.headers['www-authenticate'];
    if (challenge) quick.headers['www-authenticate'] = challenge.replace('/connect/', '/');
    expect(quick).toEqual(full);
  });
});

describe('the fast path', () => {
  test.each([fast('legacy'), '/mcp/default/legacy'])('takes an ordinary call at %s', async (path) => {
    expect((await post(path)).status).toBe(200);
    expect(handled).toBe(0);
  });

  test.each<[what: string, path: string, options: RequestOptions]>([
    ['a path with something to decode', '/connect/default/%6cegacy/mcp', {}],
    ['a query', `${fast('legacy')}?x=1`, {}],
    ['a slash at the end', `${fast('legacy')}/`, {}],
    ['a browser page', fast('legacy'), { headers: { origin: 'http://localhost:3000' } }],
    ['a charset', fast('legacy'), { headers: { 'content-type': 'application/json; charset=utf-8' } }],
  ])('leaves %s to the framework', async (_what, path, options) => {
    expect((await post(path, options)).status).toBe(200);
    expect(handled).toBe(1);
  });

  test('leaves a body of unknown length to the framework, which holds it to the limit', async () => {
    const chunked = (text: string) =>
      fetch(`${contract.url}${fast('legacy')}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${contract.pb.key}`, ...json },
        body: new Blob([text]).stream(),
        duplex: 'half',
      } as RequestInit);
    expect((await chunked(JSON.stringify(echo))).status).toBe(200);
    expect(handled).toBe(1);
    expect((await chunked(JSON.stringify({ ...echo, more: 'x'.repeat(5_000) }))).status).toBe(413);
  });

  test('knows no credential that has just been revoked', async () => {
    const { token } = await contract.sdk().tokens.create({ policy: [{}] });
    for (let i = 0; i < 2; i++) expect((await post(fast('legacy'), { key: token })).status).toBe(200);
    expect(handled).toBe(1 + 1);
    const { jti } = JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString());
    expect((await contract.request(`/tokens/${jti}`, { method: 'DELETE' })).status).toBe(200);
    expect((await post(fast('legacy'), { key: token })).status).toBe(401);
  });

  test('takes no more once the process stops, also on a socket that is in use', async () => {
    const pb = await startPatchbay();
    let stopped: Promise<void> | undefined;
    try {
      let answer = () => {};
      const call = () => new Promise<unknown>((resolve) => (answer = () => resolve({ content: [] })));
      const up = await contract.upstream(legacyServer({ tools: [{ name: 'echo' }], call }).handler);
      await pb.sdk().connections.set('slow', { namespace, mcpUrl: up.url });
      const list = JSON.stringify(message('tools/list'));
      // Remembered from here on.
      expect((await pb.request(fast('slow'), { method: 'POST', headers: json, body: list })).status).toBe(
        200,
      );
      const socket = connect(portOf(pb), '127.0.0.1');
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk;
      });
      const send = (body: string) =>
        socket.write(
          `POST ${fast('slow')} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${pb.key}\r\n` +
            `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
        );
      const seen = up.received.length;
      send(JSON.stringify(echo));
      await until(() => up.received.length > seen);
      stopped = pb.stop();
      await until(() => !pb.patchbay.app.server.listening);
      const ended = once(socket, 'close');
      send(list);
      answer();
      await Promise.all([ended, stopped]);
      expect(text.match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 503']);
      expect(up.received.slice(seen)).toHaveLength(1);
    } finally {
      await (stopped ?? pb.stop());
    }
  });
});
