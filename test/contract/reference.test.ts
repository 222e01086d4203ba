import { describe, expect, test } from 'vitest';
import { hasReference, referenceBreach } from './reference.ts';
import { answerSchemas } from './schemas.ts';

if (!hasReference) {
  process.stderr.write(
    'PATCHBAY_REFERENCE_OPENAPI is not set: skipping the checks of answers against that document.\n',
  );
}

const connection = {
  connectionId: 'clever-dolphin-a9X3',
  name: 'clever-dolphin-a9X3',
  transport: 'http',
  mcpUrl: 'https://mcp.example.com/mcp',
  metadata: null,
  createdAt: '2026-11-22T10:00:00.000Z',
  status: { state: 'connected' },
};
const route = 'GET /connect/{namespace}/{connectionId}';

// The checks of all other files lean on these two: they must be able to say no.
describe('the check against schemas of our own', () => {
  const isRefused = (body: unknown, of = route, status = 200) =>
    answerSchemas[of]?.[status]?.safeParse(body).success === false;

  test('passes an answer of the contract’s shape', () => {
    expect(isRefused(connection)).toBe(false);
    expect(isRefused({ error: 'not_found', message: 'Connection not found' }, route, 404)).toBe(false);
  });

  test('finds a field too many, a field too few and a field of the wrong form', () => {
    expect(isRefused({ ...connection, headers: {} })).toBe(true);
    expect(isRefused({ ...connection, status: undefined })).toBe(true);
    expect(isRefused({ ...connection, createdAt: 1 })).toBe(true);
    expect(isRefused({ ...connection, mcpUrl: null })).toBe(true);
    const status = { state: 'auth_required', setupUrl: 'https://a.example/setup' };
    expect(isRefused({ ...connection, status })).toBe(true);
    expect(isRefused({ ...connection, mock: { enabled: false } })).toBe(true);
  });

  test('finds errors that leak, and JSON-RPC codes that are not ours to use', () => {
    const message = 'TypeError: x\n    at run (file:///src/a.ts:1:2)';
    expect(isRefused({ error: 'internal_error', message }, route, 404)).toBe(true);
    const rpc = 'POST /connect/{namespace}/{connectionId}/mcp';
    const withCode = (code: number) => ({ jsonrpc: '2.0', id: 1, error: { code, message: 'No' } });
    expect(isRefused(withCode(-32050), rpc, 404)).toBe(true);
    expect(isRefused(withCode(40401), rpc, 404)).toBe(false);
  });
});

describe.skipIf(!hasReference)('the check against the reference document', () => {
  test('passes an answer of the documented shape', () => {
    expect(referenceBreach(route, 200, connection)).toBeUndefined();
    expect(referenceBreach('GET /namespaces', 200, { namespaces: [] })).toBeUndefined();
  });

  test('finds a field too many, a field too few and a field of the wrong form', () => {
    expect(referenceBreach(route, 200, { ...connection, headers: {} })).toMatch(/additional properties/);
    expect(referenceBreach(route, 200, { ...connection, name: undefined })).toMatch(/name/);
    expect(referenceBreach(route, 200, { ...connection, status: { state: 'broken' } })).toMatch(/status/);
    const status = { state: 'auth_required', setupUrl: 'not a URL' };
    expect(referenceBreach(route, 200, { ...connection, status })).toMatch(/uri/);
    expect(referenceBreach('PUT /namespaces/{name}', 409, { error: 'x', message: 'y' })).toMatch(
      /additional/,
    );
  });

  test('lets a list of tools say in _meta what is kept out of it, and nothing beside', () => {
    const tools = 'GET /connect/{namespace}/{connectionId}/.tools';
    const _meta = { 'patchbay/quarantined': ['add'] };
    expect(referenceBreach(tools, 200, { tools: [], _meta })).toBeUndefined();
    expect(referenceBreach(tools, 200, { tools: [], other: _meta })).toMatch(/additional properties/);
  });

  test('says nothing about answers that the document does not have', () => {
    expect(referenceBreach(route, 418, 'anything')).toBeUndefined();
    expect(referenceBreach('GET /nowhere', 200, 'anything')).toBeUndefined();
  });
});
