import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { describe, expect, test } from 'vitest';
import { useContract } from './harness.ts';

const contract = useContract();

describe('GET /health', () => {
  test('answers 200 with the time, to anyone', async () => {
    const before = Date.now();
    const { status, body } = await contract.request('/health', { key: null });
    expect(status).toBe(200);
    const at = Date.parse((body as { timestamp: string }).timestamp);
    expect(at).toBeGreaterThanOrEqual(before - 1);
    expect(at).toBeLessThanOrEqual(Date.now() + 1);
    expect(await contract.sdk().health.check()).toHaveProperty('status');
  });
});

describe('GET /servers, the clients’ probe of a key', () => {
  test('is 401 for a bad key and an empty page for a good one', async () => {
    expect((await contract.request('/servers?pageSize=1', { key: 'wrong' })).status).toBe(401);
    expect((await contract.request('/servers?pageSize=1', { key: null })).status).toBe(401);
    expect(await contract.request('/servers?pageSize=1')).toMatchObject({
      status: 200,
      body: { servers: [], pagination: { currentPage: 1, pageSize: 1, totalPages: 0, totalCount: 0 } },
    });
  });

  test('ends for the SDK’s pager', async () => {
    const found: unknown[] = [];
    for await (const server of contract.sdk().servers.list({ q: 'anything', verified: '1' }))
      found.push(server);
    expect(found).toEqual([]);
    expect(contract.sent).toEqual(['GET /servers']);
  });

  test('refuses pages that cannot be: 400', async () => {
    for (const query of ['pageSize=0', 'pageSize=101', 'page=0', 'page=x']) {
      expect([query, (await contract.request(`/servers?${query}`)).status]).toEqual([query, 400]);
    }
  });
});

interface Operation {
  operationId?: string;
  parameters?: { name: string; in: string; required?: boolean; schema?: object }[];
  requestBody?: { content: Record<string, { schema: object }> };
  responses: Record<string, { description?: string; content?: Record<string, { schema?: object }> }>;
}
interface Document {
  openapi: string;
  info: { title: string; version: string };
  servers: { url: string }[];
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object>; securitySchemes: Record<string, unknown> };
}

async function fetchDocument(): Promise<Document> {
  const answer = await contract.request('/openapi.json', { key: null });
  expect(answer.status).toBe(200);
  expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
  return answer.body as Document;
}

function operationsOf({ paths }: Document): [name: string, path: string, operation: Operation][] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): [string, string, Operation] => [
      `${method.toUpperCase()} ${path}`,
      path,
      operation,
    ]),
  );
}

describe('GET /openapi.json', () => {
  test('lists every endpoint', async () => {
    const operations = operationsOf(await fetchDocument()).map(([name]) =>
      // How the last parameter is called, and a wildcard is spelled, is not contract.
      name.replace(/\/\.tools\/.+$/, '/.tools/{toolPath}'),
    );
    expect(operations.sort()).toEqual(
      [
        'DELETE /connect/{namespace}/{connectionId}',
        'DELETE /namespaces/{name}',
        'DELETE /namespaces/{namespace}/oauth-clients/{clientId}',
        'DELETE /namespaces/{namespace}/webhooks/{webhookId}',
        'DELETE /organizations/{orgId}/api-keys/{keyId}',
        'DELETE /organizations/{orgId}/invitations/{invitationId}',
        'DELETE /organizations/{orgId}/members/{userId}',
        'DELETE /tokens/{id}',
        'GET /.well-known/jwks.json',
        'GET /api/auth/cli/poll/{sessionId}',
        'GET /audit',
        'GET /audit/export',
        'GET /connect/{namespace}',
        'GET /connect/{namespace}/.tools',
        'GET /connect/{namespace}/{connectionId}',
        'GET /connect/{namespace}/{connectionId}/.pins',
        'GET /connect/{namespace}/{connectionId}/.settings',
        'GET /connect/{namespace}/{connectionId}/.tools',
        'GET /connect/{namespace}/{connectionId}/.tools/{toolPath}',
        'GET /health',
        'GET /namespaces',
        'GET /namespaces/{namespace}/oauth-clients',
        'GET /namespaces/{namespace}/settings',
        'GET /namespaces/{namespace}/webhooks',
        'GET /organizations',
        'GET /organizations/{orgId}/api-keys',
        'GET /organizations/{orgId}/invitations',
        'GET /organizations/{orgId}/members',
        'PATCH /organizations/{orgId}/members/{userId}',
        'GET /servers',
        'PATCH /connect/{namespace}/{connectionId}/.settings',
        'PATCH /namespaces/{namespace}/settings',
        'POST /api/auth/cli/session',
        'POST /api/auth/cli/session/{sessionId}/organization',
        'POST /connect/{namespace}',
        'POST /connect/{namespace}/{connectionId}/.pins/accept',
        'POST /connect/{namespace}/{connectionId}/.setup',
        'POST /connect/{namespace}/{connectionId}/.tools/{toolPath}',
        'POST /connect/{namespace}/{connectionId}/mcp',
        'POST /mcp/{namespace}',
        'POST /namespaces',
        'POST /namespaces/{namespace}/oauth-clients',
        'POST /namespaces/{namespace}/webhooks',
        'POST /organizations/{orgId}/api-keys',
        'POST /organizations/{orgId}/invitations',
        'POST /tokens',
        'PUT /connect/{namespace}/{connectionId}',
        'PUT /namespaces/{name}',
      ].sort(),
    );
  });

  test('is OpenAPI 3.1 that points here', async () => {
    const { openapi, info, servers, components } = await fetchDocument();
    expect(openapi).toMatch(/^3\.1\.\d+$/);
    expect(info).toMatchObject({
      title: expect.any(String),
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
    });
    expect(servers).toEqual([{ url: contract.url }]);
    expect(Object.values(components.securitySchemes)).toEqual([
      expect.objectContaining({ type: 'http', scheme: 'bearer' }),
    ]);
  });

  test('has operations that are whole: ids, path parameters, described answers', async () => {
    const operations = operationsOf(await fetchDocument());
    const ids = operations.map(([, , { operationId }]) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).not.toContain(undefined);
    for (const [name, path, { parameters = [], responses }] of operations) {
      const inPath = [...path.matchAll(/\{([^}]+)\}/g)].map(([, parameter]) => parameter);
      const declared = parameters.filter((parameter) => parameter.in === 'path');
      expect([name, declared.map((parameter) => parameter.name).sort()]).toEqual([name, inPath.sort()]);
      for (const parameter of declared) expect([name, parameter.required]).toEqual([name, true]);
      // Generated clients make an identifier of it.
      for (const parameter of inPath)
        expect([name, parameter]).toEqual([name, expect.stringMatching(/^[a-z]\w*$/i)]);
      expect(Object.keys(responses).length).toBeGreaterThan(0);
      for (const [status, response] of Object.entries(responses)) {
        expect(status).toMatch(/^([1-5]\d\d|[1-5]XX|default)$/);
        expect([name, status, typeof response.description]).toEqual([name, status, 'string']);
      }
    }
  });

  test('has schemas that are JSON Schema 2020-12, with no reference to nothing', async () => {
    const document = await fetchDocument();
    const ajv = new Ajv2020({ strict: false });
    formats.default(ajv);
    ajv.addSchema(document, 'document', false, false);
    const schemas = operationsOf(document).flatMap(([, , { parameters = [], requestBody, responses }]) => [
      ...parameters.map(({ schema }) => schema),
      ...Object.values(requestBody?.content ?? {}).map(({ schema }) => schema),
      ...Object.values(responses).flatMap(({ content = {} }) =>
        Object.values(content).map(({ schema }) => schema),
      ),
    ]);
    expect(schemas.length).toBeGreaterThan(30);
    for (const schema of [...schemas, ...Object.values(document.components.schemas)]) {
      const absolute = JSON.parse(JSON.stringify(schema ?? {}).replaceAll('"#/', '"document#/'));
      expect(ajv.validateSchema(absolute), JSON.stringify(ajv.errors)).toBe(true);
      expect(() => ajv.compile(absolute)).not.toThrow();
    }
  });

  test('describes the connection that the API answers', async () => {
    const document = await fetchDocument();
    const ajv = new Ajv2020({ strict: false });
    formats.default(ajv);
    ajv.addSchema(document, 'document', false, false);
    const validate = ajv.compile({ $ref: 'document#/components/schemas/Connection' });
    const made = await contract.sdk().connections.create('default', { mcpUrl: 'http://127.0.0.1:1/mcp' });
    expect(validate(made), JSON.stringify(validate.errors)).toBe(true);
    expect(validate({ ...made, headers: {} })).toBe(false);
  });
});

test('GET /docs is a page for people, to anyone', async () => {
  const answer = await contract.request('/docs', { key: null });
  expect(answer.status).toBe(200);
  expect(answer.headers.get('content-type')).toMatch(/^text\/html/);
  expect(answer.text).toMatch(/<html/i);
});

test('a path that does not exist is 404 in the shape of an error, and tells nothing', async () => {
  for (const [path, method] of [
    ['/', 'POST'],
    ['/default/a/b/c', 'GET'],
    ['/connect', 'GET'],
    ['/connect/default/x/.tools/y', 'DELETE'],
    ['/health', 'POST'],
  ] as const) {
    const answer = await contract.request(path, { method });
    expect([path, answer.status]).toEqual([path, 404]);
    expect(answer.body).toEqual({ error: expect.any(String), message: expect.any(String) });
  }
});

test('a person who opens the origin is led to the documentation', async () => {
  const answer = await fetch(contract.pb.url, { redirect: 'manual' });
  expect([answer.status, answer.headers.get('location')]).toEqual([302, '/docs']);
});

describe('a browser', () => {
  const preflight = (path: string, origin: string) =>
    contract.request(path, {
      method: 'OPTIONS',
      key: null,
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,content-type,mcp-session-id,x-stainless-lang',
      },
    });

  test('on an allowed origin may use the API, the SDK’s own headers included, without cookies', async () => {
    for (const path of ['/default', '/connect/default/x/mcp', '/namespaces']) {
      const { status, headers } = await preflight(path, 'http://localhost:3000');
      expect([path, status]).toEqual([path, 204]);
      expect(headers.get('access-control-allow-origin')).toBe('http://localhost:3000');
      expect(headers.get('access-control-allow-methods')).toMatch(/POST/);
      for (const name of ['authorization', 'content-type', 'mcp-session-id', 'x-stainless-lang']) {
        expect(headers.get('access-control-allow-headers')).toContain(name);
      }
      expect(headers.get('access-control-allow-credentials')).toBeNull();
    }
  });

  test('on another origin may not', async () => {
    for (const path of ['/default', '/connect/default/x/mcp']) {
      const { headers } = await preflight(path, 'https://evil.example');
      expect(headers.get('access-control-allow-origin')).toBeNull();
    }
    const answer = await contract.request('/default', { headers: { origin: 'https://evil.example' } });
    expect(answer.headers.get('access-control-allow-origin')).toBeNull();
  });
});
