import { beforeAll, describe, expect, test } from 'vitest';
import {
  connect,
  expectNoLeak,
  jsonContent,
  mcp,
  put,
  raw,
  read,
  rest,
  setUpConnected,
} from '../fixtures/fault.ts';
import type { TestPatchbay } from '../fixtures/patchbay.ts';
import type { Upstream } from '../fixtures/upstream.ts';

let pb: TestPatchbay;
let up: Upstream;
beforeAll(async () => {
  const connected = await setUpConnected();
  ({ pb, up } = connected);
  return connected.stop;
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
      expect((await raw(pb, { method, path, headers: jsonContent, body })).status).toBe(400);
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
