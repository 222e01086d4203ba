import { connect as connectSocket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  connect,
  count,
  echoCall,
  expectNoLeak,
  mcp,
  portOf,
  put,
  raw,
  read,
  rest,
} from '../fixtures/fault.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { legacyServer, startUpstream, type Upstream } from '../fixtures/upstream.ts';

let pb: TestPatchbay;
let up: Upstream;
beforeAll(async () => {
  pb = await startPatchbay({ limits: { restBodyBytes: 64 * 1024, mcpBodyBytes: 256 * 1024 } });
  up = await startUpstream(legacyServer().handler);
  await connect(pb, 'c', up.url);
});
afterAll(async () => {
  await pb?.stop();
  await up?.stop();
});

const json = { 'content-type': 'application/json' };
/** Every kind of place that takes a body. */
const takers = [
  { method: 'POST', path: '/connect/default', rpc: false, limit: 64 },
  { method: 'PUT', path: '/connect/default/new', rpc: false, limit: 64 },
  { method: 'PUT', path: '/default/new', rpc: false, limit: 64 },
  { method: 'PUT', path: '/namespaces/brandnew', rpc: false, limit: 64 },
  { method: 'POST', path: '/connect/default/c/.tools/echo', rpc: false, limit: 256 },
  { method: 'POST', path: '/connect/default/c/mcp', rpc: true, limit: 256 },
  { method: 'POST', path: '/default/c/mcp', rpc: true, limit: 256 },
];

function expectError(text: string, rpc: boolean): void {
  const body = JSON.parse(text);
  if (rpc) {
    expect(body).toEqual({
      jsonrpc: '2.0',
      id: null,
      error: { code: expect.any(Number), message: expect.any(String) },
    });
  } else expect(body.error).toEqual(expect.any(String));
  expectNoLeak(text, pb);
}

describe.each(takers)('$method $path', ({ method, path, rpc, limit }) => {
  test('a body over the limit is 413, announced or in chunks', async () => {
    const body = `{"x":"${'a'.repeat(limit * 1024)}"}`;
    const announced = await raw(pb, {
      method,
      path,
      headers: { ...json, 'content-length': String(body.length) },
      body,
    });
    const chunked = await raw(pb, {
      method,
      path,
      headers: { ...json, 'transfer-encoding': 'chunked' },
      body,
    });
    for (const { status, text } of [announced, chunked]) {
      expect(status).toBe(413);
      expectError(text, rpc);
    }
  });

  test.each([
    '{',
    'nul',
    '{"a":1}x',
    '{"a":1,}',
    "{'a':1}",
    '{"a":NaN}',
    '\u0000',
    '\ufeff{',
    '{"a":"\n"}',
    '[1',
    '"',
  ])('bad JSON is 400: %j', async (body) => {
    const { status, text } = await raw(pb, { method, path, headers: json, body });
    expect(status).toBe(400);
    expectError(text, rpc);
  });

  test.each(['[]', '"x"', '1', 'null', 'true'])('JSON that is no object is 400: %s', async (body) => {
    const { status, text } = await raw(pb, { method, path, headers: json, body });
    expect(status).toBe(400);
    expectError(text, rpc);
  });

  test.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'nonsense',
    undefined,
  ])('content type %s is 415', async (type) => {
    const { status, text } = await raw(pb, {
      method,
      path,
      headers: type ? { 'content-type': type } : {},
      body: '{}',
    });
    expect(status).toBe(415);
    expectError(text, rpc);
  });

  test.each([
    { shape: 'objects', open: '{"a":', close: '}' },
    { shape: 'arrays', open: '[', close: ']' },
  ])('10,000 nested $shape are refused', async ({ open, close }) => {
    const deep = `${open.repeat(10_000)}1${close.repeat(10_000)}`;
    const seen = up.received.length;
    for (const body of [
      deep,
      `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":${deep}}}`,
    ]) {
      const { status, text } = await raw(pb, { method, path, headers: json, body });
      expect(status).toBe(400);
      expectError(text, rpc);
    }
    expect(up.received.length).toBe(seen);
  });
});

test('10,000 nested levels in metadata are refused, and 100 are kept', async () => {
  const nested = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
  const send = (depth: number) =>
    raw(pb, {
      method: 'PUT',
      path: '/connect/default/deep',
      headers: json,
      body: `{"mcpUrl":"${up.url}","metadata":{"m":${nested(depth)}}}`,
    });
  expect((await send(10_000)).status).toBe(400);
  const kept = await send(100);
  expect(kept.status).toBe(201);
  expect(kept.text).toContain(nested(100));
});

test('a body that may be left out may be left out', async () => {
  expect((await read(await pb.request('/namespaces/nobody', { method: 'PUT' }))).status).toBe(201);
  expect((await read(await pb.request('/namespaces', { method: 'POST' }))).status).toBe(201);
  const { status, json: body } = await read(await pb.request('/connect/default', { method: 'POST' }));
  expect(status).toBe(400);
  expect(body.message).toMatch(/mcpUrl/);
});

describe('paths', () => {
  const bad = ['%', '%2', '%zz', '%ff', '%c0%af', '%ed%a0%80', '%f5%80%80%80'];
  test.each(bad)('an invalid percent-encoding is 4xx everywhere: %s', async (part) => {
    for (const path of [
      `/connect/${part}`,
      `/connect/default/${part}`,
      `/connect/default/${part}/mcp`,
      `/connect/default/c/.tools/${part}`,
      `/namespaces/${part}`,
      `/${part}`,
    ]) {
      for (const method of ['GET', 'PUT', 'POST', 'DELETE']) {
        const { status, text } = await raw(pb, {
          method,
          path,
          headers: method === 'GET' ? {} : json,
          ...(method === 'GET' ? {} : { body: '{}' }),
        });
        expect(status, `${method} ${path}`).toBeGreaterThanOrEqual(400);
        expect(status, `${method} ${path}`).toBeLessThan(500);
        expectNoLeak(text, pb);
      }
    }
  });

  test.each([
    '%00',
    'a%00b',
    'a%0d%0aSet-Cookie:%20x',
    '%7f',
    '.',
    '..',
    '%2e',
    '%2e%2e',
    '.hidden',
    '%2Etools',
    '..%2f..%2fetc%2fpasswd',
  ])('a connection id that none may have is 400 on write and 404 on read: %s', async (id) => {
    const path = `/connect/default/${id}`;
    const written = await raw(pb, {
      method: 'PUT',
      path,
      headers: json,
      body: JSON.stringify({ mcpUrl: up.url }),
    });
    expect([400, 404]).toContain(written.status);
    if (!id.startsWith('.')) expect(written.status).toBe(400);
    const got = await raw(pb, { path });
    expect(got.status).toBe(404);
    expect(got.headers['set-cookie']).toBeUndefined();
    for (const below of ['/mcp', '/.tools/echo']) {
      const { status } = await raw(pb, {
        method: 'POST',
        path: path + below,
        headers: json,
        body: JSON.stringify(echoCall()),
      });
      expect(status).toBe(404);
    }
  });

  test('an id of 10 kB is 400 on write and 404 on read', async () => {
    const id = 'i'.repeat(10_000);
    const path = `/connect/default/${id}`;
    expect(
      (await raw(pb, { method: 'PUT', path, headers: json, body: JSON.stringify({ mcpUrl: up.url }) }))
        .status,
    ).toBe(400);
    expect((await raw(pb, { path })).status).toBe(404);
    expect((await raw(pb, { path, method: 'DELETE' })).status).toBe(404);
  });

  const odd = [
    '😀',
    'a/b',
    'a/../b',
    'ünïcode',
    'a b',
    'a?b#c',
    "a'; drop table connections; --",
    '%',
    '%2F',
    '__proto__',
    'constructor',
    'toString',
    '{id}',
    ':id',
    '*',
    'i'.repeat(255),
    '😀'.repeat(127),
  ];
  test.each(odd)('an odd id works like any other: %s', async (id) => {
    const path = `/connect/default/${encodeURIComponent(id)}`;
    const made = await read(
      await pb.request(path, { method: 'PUT', json: { mcpUrl: up.url, name: 'odd', metadata: { id } } }),
    );
    expect(made.status).toBe(201);
    expect(made.json.connectionId).toBe(id);
    expect((await read(await pb.request(path))).json.connectionId).toBe(id);
    expect((await read(await pb.request(`${path}/.tools`))).json).toMatchObject({
      tools: [{ name: 'echo' }],
    });
    expect(
      await (await pb.request(`${path}/.tools/echo`, { method: 'POST', json: { id } })).json(),
    ).toMatchObject({ content: [{ text: JSON.stringify({ id }) }] });
    expect((await pb.request(`${path}/mcp`, { method: 'POST', json: echoCall() })).status).toBe(200);
    const listed = await read(await pb.request(`/connect/default?metadata.id=${encodeURIComponent(id)}`));
    expect(
      (listed.json.connections as { connectionId: string }[]).map(({ connectionId }) => connectionId),
    ).toEqual([id]);
    const all = await read(await pb.request('/connect/default/.tools'));
    expect(Object.hasOwn(all.json, id)).toBe(true);
    expect((await pb.request(path, { method: 'DELETE' })).status).toBe(200);
  });

  test('a slash that is not encoded never reaches another resource', async () => {
    await connect(pb, 'x/mcp', up.url);
    expect((await raw(pb, { path: '/connect/default/x/mcp' })).status).toBe(405);
    expect((await raw(pb, { path: '/connect/default/x%2Fmcp' })).status).toBe(200);
    expect((await raw(pb, { path: '/connect/default/nope/../c' })).status).toBe(404);
    expect((await raw(pb, { path: '/connect/default%2Fc' })).status).toBe(404);
  });
});

describe('metadata', () => {
  test('10 kB and emoji are kept, and found again', async () => {
    const metadata = { big: 'm'.repeat(10_000), '😀': '👩‍👩‍👧', lone: '\ud800', nul: 'a\u0000b' };
    const { status, json: made } = await put(pb, 'meta', { mcpUrl: up.url, metadata });
    expect(status).toBe(201);
    expect(made.metadata).toEqual(metadata);
    const found = await read(
      await pb.request(
        `/connect/default?metadata[${encodeURIComponent('😀')}]=${encodeURIComponent('👩‍👩‍👧')}`,
      ),
    );
    expect(found.json.connections).toMatchObject([{ connectionId: 'meta', metadata }]);
    const byBig = await read(await pb.request(`/connect/default?metadata.big=${metadata.big}`));
    expect(byBig.json.connections).toMatchObject([{ connectionId: 'meta' }]);
  });

  test('more than the limit is 400', async () => {
    expect((await put(pb, 'fat', { mcpUrl: up.url, metadata: { a: 'm'.repeat(17_000) } })).status).toBe(400);
    const many = Object.fromEntries(Array.from({ length: 101 }, (_, n) => [`k${n}`, n]));
    expect((await put(pb, 'fat', { mcpUrl: up.url, metadata: many })).status).toBe(400);
  });

  test('names with NUL or a lone surrogate are 400, which no database could store', async () => {
    for (const name of ['a\u0000b', '\ud800', '', 'n'.repeat(256)]) {
      expect((await put(pb, 'named', { mcpUrl: up.url, name })).status).toBe(400);
      expect(
        (await pb.request(`/connect/default?name=${encodeURIComponent(name.toWellFormed())}`)).status,
      ).toBe(200);
    }
    expect((await put(pb, 'named', { mcpUrl: up.url, name: '😀' })).json.name).toBe('😀');
  });
});

describe('headers of a connection', () => {
  const refused: [string, Record<string, unknown>][] = [
    ['CR LF in a value', { 'x-a': 'a\r\nx-b: c' }],
    ['LF in a value', { 'x-a': 'a\nb' }],
    ['CR in a value', { 'x-a': 'a\rb' }],
    ['NUL in a value', { 'x-a': 'a\u0000b' }],
    ['DEL in a value', { 'x-a': 'a\u007fb' }],
    ['an emoji in a value', { 'x-a': '😀' }],
    ['CR LF that only narrowing makes', { 'x-a': 'a\u010d\u010ax-b: c' }],
    ['a line separator', { 'x-a': 'a\u2028b' }],
    ['no name', { '': 'a' }],
    ['a space in a name', { 'x a': 'a' }],
    ['a colon in a name', { 'x:a': 'a' }],
    ['CR LF in a name', { 'x\r\ny': 'a' }],
    ['letters that no name has', { héader: 'a' }],
    ['the same name twice', { 'X-Key': 'a', 'x-kEY': 'b' }],
    ['a value that is no string', { 'x-a': 1 }],
    ['a list', { 'x-a': ['a', 'b'] }],
    ['a value over the limit', { 'x-a': 'a'.repeat(9_000) }],
    ['too many', Object.fromEntries(Array.from({ length: 65 }, (_, n) => [`x-${n}`, 'a']))],
    ...[
      'Host',
      'content-length',
      'Transfer-Encoding',
      'connection',
      'upgrade',
      'TE',
      'trailer',
      'expect',
      'keep-alive',
      'proxy-authorization',
      'Proxy-Connection',
      'content-type',
      'content-encoding',
      'accept',
      'Mcp-Session-Id',
      'MCP-Protocol-Version',
      'mcp-method',
      'mcp-name',
      'Mcp-Param-x',
      'last-event-id',
    ].map((name): [string, Record<string, unknown>] => [`the reserved name ${name}`, { [name]: 'a' }]),
  ];
  test.each(refused)('%s is 400, and nothing is sent', async (_what, headers) => {
    const seen = up.received.length;
    const { status, json: body } = await put(pb, 'h', { mcpUrl: up.url, headers });
    expect(status).toBe(400);
    expect(body.error).toBe('validation_error');
    expect(up.received.length).toBe(seen);
    expect((await pb.request('/connect/default/h')).status).toBe(404);
  });

  test('what a header may carry arrives as it was given', async () => {
    const headers = {
      Authorization: 'Bearer a b',
      'X-Latin': 'caf\u00e9',
      'x-empty': '',
      Cookie: 'a=b; c="d"',
      constructor: 'c',
    };
    await connect(pb, 'ok', up.url, { headers });
    await rest(pb, 'ok');
    const sent = up.received.at(-1)?.headers;
    for (const [name, value] of Object.entries(headers)) expect(sent?.[name.toLowerCase()]).toBe(value);
  });
});

describe('keys that reach prototypes', () => {
  const polluting = [
    '{"__proto__":{"polluted":1}}',
    '{"a":{"__proto__":{"polluted":1}}}',
    '{"constructor":{"prototype":{"polluted":1}}}',
    '{"\\u005f_proto__":{"polluted":1}}',
  ];
  test.each(polluting)('%s is refused or inert, as body, metadata, headers and arguments', async (text) => {
    const bodies: [string, string, string][] = [
      ['PUT', '/connect/default/p', text],
      ['PUT', '/connect/default/p', `{"mcpUrl":"${up.url}","metadata":${text}}`],
      ['PUT', '/connect/default/p', `{"mcpUrl":"${up.url}","headers":${text}}`],
      ['PUT', '/namespaces/protons', text],
      ['POST', '/connect/default/c/.tools/echo', text],
    ];
    for (const [method, path, body] of bodies) {
      expect((await raw(pb, { method, path, headers: json, body })).status).toBe(400);
    }
    const overMcp = await mcp(
      pb,
      'c',
      `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":${text}},"__proto__":{"method":"x"}}`,
    );
    expect(overMcp.status).toBe(200);
    // The MCP endpoint passes bytes on; what they mean is the upstream's business.
    expect(up.received.at(-1)?.body).toContain(text);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });

  test.each([
    'metadata[__proto__]=x',
    'metadata.__proto__=x',
    'metadata[constructor]=x',
    'metadata.constructor.prototype=x',
    '__proto__=x',
    '__proto__[polluted]=1',
    'constructor[prototype][polluted]=1',
    'metadata[__proto__][polluted]=1',
    'metadata[]=x',
    'metadata=x',
    'metadata.=x',
    'toString=x',
    'limit[]=1',
    'limit=1&limit=2',
    'name=a&name=b',
  ])('the query ?%s finds nothing or is 400', async (query) => {
    const { status, json: body, text } = await read(await pb.request(`/connect/default?${query}`));
    expect([200, 400]).toContain(status);
    if (status === 200) expect(body.connections).toEqual([]);
    expectNoLeak(text, pb);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });

  test('names that every object has are ordinary metadata', async () => {
    const metadata = { constructor: 'c', toString: 't', hasOwnProperty: 'h', valueOf: 1 };
    expect((await put(pb, 'proto-names', { mcpUrl: up.url, metadata })).json.metadata).toEqual(metadata);
    const { json: found } = await read(
      await pb.request('/connect/default?metadata[constructor]=c&metadata.toString=t'),
    );
    expect(found.connections).toMatchObject([{ connectionId: 'proto-names' }]);
  });

  test.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
    'no tool and no namespace is called %s',
    async (name) => {
      expect((await pb.request(`/connect/default/c/.tools/${name}`)).status).toBe(404);
      expect(
        (await pb.request(`/connect/default/c/.tools/${name}`, { method: 'POST', json: {} })).status,
      ).toBe(404);
      expect((await pb.request(`/connect/${name}`)).status).toBe(404);
      expect((await pb.request(`/connect/default/${name}`)).status).toBe(404);
    },
  );
});

describe('sockets', () => {
  /** When the server closes a socket on which it got `bytes` and nothing more. */
  function closesAfter(server: TestPatchbay, bytes: string): Promise<number> {
    const startedAt = performance.now();
    return new Promise((resolve) => {
      const socket = connectSocket(portOf(server), '127.0.0.1', () => socket.write(bytes));
      socket.on('error', () => {});
      socket.resume();
      socket.on('close', () => resolve(performance.now() - startedAt));
    });
  }

  test('a caller that never ends its request is cut off, whatever part it holds back', async () => {
    const own = await startPatchbay({ limits: { requestReceiveMs: 500 } });
    const head = `POST /connect/default HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${own.key}\r\n`;
    const closed = await Promise.all([
      closesAfter(own, 'GET / HT'),
      closesAfter(own, head),
      closesAfter(own, `${head}content-type: application/json\r\ncontent-length: 100\r\n\r\n{"a`),
      closesAfter(own, `${head}content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"a`),
    ]);
    // Node looks for such sockets every 30 s, however short the limit.
    for (const ms of closed) expect(ms).toBeLessThan(32_000);
    expect((await own.request('/health')).status).toBe(200);
    await own.stop();
  });

  test('a caller that connects and says nothing does not hold up the shutdown', async () => {
    const own = await startPatchbay();
    const closed = closesAfter(own, '');
    expect((await own.request('/health')).status).toBe(200);
    const startedAt = performance.now();
    await own.stop();
    await closed;
    // "Drains and exits within 5 s when idle."
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });

  test.each([
    'GARBAGE\r\n\r\n',
    'GET /health HTTP/1.1\r\n\r\n',
    'GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: evil.example\r\n\r\n',
    'POST /connect/default HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    'POST /connect/default HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}',
    `GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ${'a'.repeat(40_000)}\r\n\r\n`,
    `GET /${'a'.repeat(40_000)} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`,
    'GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nx\u0000y: a\r\n\r\n',
    'CONNECT 127.0.0.1:1 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  ])('bytes that are no proper HTTP get a 4xx and no details: %j', async (bytes) => {
    const text = await new Promise<string>((resolve) => {
      let got = '';
      const socket = connectSocket(portOf(pb), '127.0.0.1', () => socket.end(bytes));
      socket.on('error', () => {});
      socket.on('data', (data) => {
        got += data;
      });
      socket.on('close', () => resolve(got));
    });
    // A socket closed without a word is an answer too.
    if (text !== '') expect(text).toMatch(/^HTTP\/1\.1 4\d\d /);
    expectNoLeak(text, pb);
    expect((await pb.request('/health')).status).toBe(200);
  });
});

test('nothing of this file reached an upstream under a wrong name', () => {
  expect(count(up, 'x')).toBe(0);
});
