import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectNoLeak, type RawAnswer, raw } from '../fixtures/fault.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { legacyServer, modernServer, startUpstream, type Upstream } from '../fixtures/upstream.ts';

let pb: TestPatchbay;
let legacy: Upstream;
let modern: Upstream;
beforeAll(async () => {
  pb = await startPatchbay({
    limits: { connectMs: 500, probeMs: 2_000, restBodyBytes: 16 * 1024, mcpBodyBytes: 16 * 1024 },
  });
  legacy = await startUpstream(legacyServer({ sessions: true }).handler);
  modern = await startUpstream(modernServer().handler);
  await revive();
});
afterAll(async () => {
  await pb?.stop();
  await legacy?.stop();
  await modern?.stop();
});

/** What is thrown at may be deleted by what is thrown. */
async function revive(): Promise<void> {
  for (const [id, { url }] of [
    ['legacy', legacy],
    ['modern', modern],
  ] as const) {
    const { status } = await pb.request(`/connect/default/${id}`, { method: 'PUT', json: { mcpUrl: url } });
    expect([200, 201]).toContain(status);
  }
}

/** No hostile caller gets a 5xx, but the truth about an upstream; and nothing of the inside shows. */
function judge({ status, text }: RawAnswer, what: unknown): void {
  if (status >= 500) {
    const shown = `${status} ${text} for ${JSON.stringify(what).slice(0, 2_000)}`;
    expect([502, 504], shown).toContain(status);
    const body = JSON.parse(text) as { error?: string | { code?: number } };
    const code = typeof body.error === 'object' ? body.error.code : body.error;
    expect(['upstream_failed', 'upstream_timeout', 50201, 50401], shown).toContain(code);
  }
  expect(status).toBeGreaterThanOrEqual(200);
  expectNoLeak(text, pb);
}

const pieces = [
  'connect',
  'default',
  'legacy',
  'modern',
  'mcp',
  '.tools',
  '.triggers',
  'echo',
  'namespaces',
  'servers',
  'health',
  'docs',
  'openapi.json',
  'static',
  'index.html',
  '__proto__',
  'constructor',
  '.',
  '..',
  '...',
  '%2e%2e',
  '%2F',
  '%2f..%2f',
  '%5c',
  '%00',
  '%0d%0a',
  '%',
  '%ff',
  '%F0%9F%98%80',
  '%25',
  '*',
  ':id',
  '{x}',
  ';a=b',
  '@',
  '~',
  "'",
  '"',
  '\\',
  '|',
  '^',
  '`',
  'a'.repeat(300),
  'é'.normalize(),
];
const segment = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(...pieces.map((piece) => piece.replace(/[^\x21-\x7e]/g, encodeURIComponent))),
  },
  {
    weight: 1,
    arbitrary: fc.string({ maxLength: 12 }).map((text) => encodeURIComponent(text.toWellFormed())),
  },
  { weight: 1, arbitrary: fc.stringMatching(/^[\x21-\x7e]{0,8}$/) },
);
const route = fc.oneof(
  fc.constantFrom(
    '/connect/default',
    '/default',
    '/connect/default/legacy',
    '/default/modern',
    '/connect/default/.tools',
    '/connect/default/legacy/.tools',
    '/connect/default/modern/.tools/echo',
    '/default/legacy/.tools/echo',
    '/connect/default/legacy/mcp',
    '/connect/default/modern/mcp',
    '/namespaces',
    '/servers',
    '/health',
    '/openapi.json',
  ),
  fc
    .tuple(
      fc.constantFrom(
        '/connect/default/',
        '/default/',
        '/connect/default/legacy/',
        '/default/modern/.tools/',
        '/namespaces/',
      ),
      segment,
    )
    .map(([start, end]) => start + end),
  fc.array(segment, { maxLength: 6 }).map((segments) => `/${segments.join('/')}`),
);
const parameter = fc.oneof(
  fc.constantFrom(
    'limit',
    'cursor',
    'name',
    'mcpUrl',
    'page',
    'pageSize',
    'q',
    'metadata',
    'metadata.a',
    'metadata[a]',
    'metadata[__proto__]',
    '__proto__',
    'ownerId',
    'hasServers',
  ),
  fc.stringMatching(/^[a-z[\].%_]{0,10}$/),
);
const query = fc
  .array(
    fc.tuple(
      parameter,
      fc.oneof(
        fc.constantFrom(
          '1',
          '0',
          '-1',
          '1e9',
          '999999999999',
          'WyI',
          'WzEsIngiXQ',
          'WzFlOTksIlx1MDAwMCJd',
          'bnVsbA',
          '%00',
          '%ff',
          '',
        ),
        fc.string({ maxLength: 10 }).map((text) => encodeURIComponent(text.toWellFormed())),
      ),
    ),
    { maxLength: 4 },
  )
  .map((pairs) =>
    pairs.length === 0 ? '' : `?${pairs.map(([name, value]) => `${name}=${value}`).join('&')}`,
  );

const fields = fc.record(
  {
    mcpUrl: fc.oneof(
      fc.constantFrom(
        'http://127.0.0.1:9/mcp',
        'javascript:alert(1)',
        'http://',
        'http://[',
        'http://a b',
        'http://169.254.169.254/',
        'file:///etc/passwd',
        'http://\u0000/',
      ),
      fc.string(),
    ),
    name: fc.oneof(fc.string({ maxLength: 300 }), fc.string({ unit: 'binary', maxLength: 10 })),
    metadata: fc.oneof(
      fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue(), { maxKeys: 5 }),
      fc.jsonValue(),
    ),
    headers: fc.oneof(
      fc.dictionary(fc.string(), fc.string({ unit: 'binary' }), { maxKeys: 3 }),
      fc.jsonValue(),
    ),
    mock: fc.jsonValue(),
    server: fc.jsonValue(),
    transport: fc.jsonValue(),
    source: fc.jsonValue(),
  },
  { requiredKeys: [] },
);
const rpc = fc.record(
  {
    jsonrpc: fc.oneof({ weight: 9, arbitrary: fc.constant('2.0') }, { weight: 1, arbitrary: fc.jsonValue() }),
    id: fc.oneof(fc.integer(), fc.double(), fc.string({ unit: 'binary', maxLength: 10 }), fc.jsonValue()),
    method: fc.oneof(
      fc.constantFrom(
        'tools/call',
        'tools/list',
        'ping',
        'initialize',
        'server/discover',
        'notifications/initialized',
        'notifications/cancelled',
        'x',
      ),
      fc.jsonValue(),
    ),
    params: fc.oneof(
      fc.record({ name: fc.constantFrom('echo', 'none', '__proto__'), arguments: fc.jsonValue() }),
      fc.record({
        protocolVersion: fc.oneof(
          fc.constantFrom('2025-11-25', '2024-11-05', '9999-99-99', ''),
          fc.jsonValue(),
        ),
      }),
      fc.record({
        _meta: fc.oneof(
          fc.record({
            'io.modelcontextprotocol/protocolVersion': fc.oneof(fc.constant('2026-07-28'), fc.jsonValue()),
          }),
          fc.jsonValue(),
        ),
      }),
      fc.jsonValue(),
    ),
    result: fc.jsonValue(),
  },
  { requiredKeys: ['jsonrpc'] },
);
const toText = (value: unknown) => JSON.stringify(value) ?? 'null';
const body = fc.oneof(
  fields.map(toText),
  rpc.map(toText),
  fc.jsonValue().map(toText),
  fc.string({ unit: 'binary' }),
  fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
  fc.constantFrom('', '{', '{"id":1,"id":2}', '{"__proto__":1}', '['.repeat(9_000), 'x'.repeat(20_000)),
);
const headers = fc.record(
  {
    'content-type': fc.oneof(
      { weight: 5, arbitrary: fc.constant('application/json') },
      { weight: 1, arbitrary: fc.constantFrom('text/plain', 'application/json; charset=latin1', 'a/b', ';') },
    ),
    accept: fc.constantFrom('*/*', 'text/html', 'nonsense', ''),
    'mcp-session-id': fc.constantFrom('smithery-stateless', 'made-up', ''),
    'mcp-protocol-version': fc.constantFrom('2025-06-18', '2026-07-28', '1', '9999-99-99', 'x'.repeat(100)),
    'mcp-method': fc.constantFrom('tools/call', 'x'),
    'mcp-param-x': fc.stringMatching(/^[\x21-\x7e]{0,10}$/),
    'last-event-id': fc.constantFrom('1', ''),
    origin: fc.constantFrom('null', 'http://localhost', 'https://evil.example'),
    expect: fc.constant('100-continue'),
    range: fc.constant('bytes=0-1'),
    'if-none-match': fc.constant('*'),
    'x-http-method-override': fc.constant('DELETE'),
    'content-encoding': fc.constantFrom('gzip', 'identity'),
  },
  { requiredKeys: ['content-type'] },
);
const method = fc.constantFrom(
  'GET',
  'GET',
  'POST',
  'POST',
  'POST',
  'PUT',
  'DELETE',
  'PATCH',
  'HEAD',
  'OPTIONS',
);

async function throwAt(request: {
  method: string;
  path: string;
  query: string;
  headers: Record<string, string>;
  body: string | Buffer;
  authorized: boolean;
}): Promise<void> {
  // The namespace itself stays, or everything after would be 404.
  if (request.method === 'DELETE' && /^\/namespaces\/default/.test(request.path)) return;
  const { query: asked, body: given, ...rest } = request;
  const hasBody = !['GET', 'HEAD'].includes(request.method);
  const answer = await raw(pb, { ...rest, path: request.path + asked, ...(hasBody ? { body: given } : {}) });
  judge(answer, { ...request, body: String(given) });
  if (request.method === 'DELETE' && answer.status === 200) await revive();
}

test('no path, query, header or body of any caller ever brings a 5xx or shows the inside', async () => {
  const authorized = fc.oneof(
    { weight: 9, arbitrary: fc.constant(true) },
    { weight: 1, arbitrary: fc.constant(false) },
  );
  await fc.assert(
    fc.asyncProperty(fc.record({ method, path: route, query, headers, body, authorized }), throwAt),
    {
      numRuns: 1_500,
      interruptAfterTimeLimit: 40_000,
    },
  );
}, 90_000);

test('no JSON-RPC message of any caller does either, in either era', async () => {
  const path = fc.constantFrom('/connect/default/legacy/mcp', '/connect/default/modern/mcp');
  const request = fc.record({
    method: fc.constant('POST'),
    path,
    query: fc.constant(''),
    headers,
    body: rpc.map(toText),
    authorized: fc.constant(true),
  });
  await fc.assert(fc.asyncProperty(request, throwAt), { numRuns: 800, interruptAfterTimeLimit: 25_000 });
}, 60_000);

test('what survived still works', async () => {
  await revive();
  for (const id of ['legacy', 'modern']) {
    const { status } = await pb.request(`/connect/default/${id}/.tools/echo`, { method: 'POST', json: {} });
    expect(status).toBe(200);
  }
});
