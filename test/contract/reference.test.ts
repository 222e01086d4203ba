import { describe, expect, test } from 'vitest';
import { hasReference, referenceBreach } from './reference.ts';

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
  status: { state: 'connected' },
};
const route = 'GET /connect/{namespace}/{connectionId}';

// The checks of all other files lean on this one: it must be able to say no.
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

  test('says nothing about answers that the document does not have', () => {
    expect(referenceBreach(route, 418, 'anything')).toBeUndefined();
    expect(referenceBreach('GET /nowhere', 200, 'anything')).toBeUndefined();
  });
});
