import { beforeAll, describe, expect, test } from 'vitest';
import {
  connect,
  echoCall,
  expectNoLeak,
  jsonContent,
  put,
  raw,
  read,
  setUpConnected,
} from '../fixtures/fault.ts';
import type { TestPatchbay } from '../fixtures/patchbay.ts';
import type { Upstream } from '../fixtures/upstream.ts';

let pb: TestPatchbay;
let up: Upstream;
beforeAll(async () => {
  const connected = await setUpConnected({ limits: { restBodyBytes: 64 * 1024, mcpBodyBytes: 256 * 1024 } });
  ({ pb, up } = connected);
  return connected.stop;
});

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
      headers: { ...jsonContent, 'content-length': String(body.length) },
      body,
    });
    const chunked = await raw(pb, {
      method,
      path,
      headers: { ...jsonContent, 'transfer-encoding': 'chunked' },
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
    const { status, text } = await raw(pb, { method, path, headers: jsonContent, body });
    expect(status).toBe(400);
    expectError(text, rpc);
  });

  test.each(['[]', '"x"', '1', 'null', 'true'])('JSON that is no object is 400: %s', async (body) => {
    const { status, text } = await raw(pb, { method, path, headers: jsonContent, body });
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
      const { status, text } = await raw(pb, { method, path, headers: jsonContent, body });
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
      headers: jsonContent,
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
          headers: method === 'GET' ? {} : jsonContent,
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
    '..%2f..%2fetc%2fpasswd',
  ])('a connection id that none may have is 400 on write and 404 on read: %s', async (id) => {
    const path = `/connect/default/${id}`;
    const written = await raw(pb, {
      method: 'PUT',
      path,
      headers: jsonContent,
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
        headers: jsonContent,
        body: JSON.stringify(echoCall()),
      });
      expect(status).toBe(404);
    }
  });

  test('an id of 10 kB is 400 on write and 404 on read', async () => {
    const id = 'i'.repeat(10_000);
    const path = `/connect/default/${id}`;
    expect(
      (await raw(pb, { method: 'PUT', path, headers: jsonContent, body: JSON.stringify({ mcpUrl: up.url }) }))
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
