import { beforeAll, describe, expect, test } from 'vitest';
import { echoCall, jsonContent, raw, setUpConnected } from '../fixtures/fault.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import type { Upstream } from '../fixtures/upstream.ts';

let pb: TestPatchbay;
let up: Upstream;
beforeAll(async () => {
  const connected = await setUpConnected({
    env: {
      PATCHBAY_PUBLIC_URL: 'https://patchbay.example',
      PATCHBAY_ALLOW_PRIVATE_UPSTREAMS: '127.0.0.1',
      PATCHBAY_ALLOWED_HOSTS: 'gw.example, other.example:8443',
      PATCHBAY_ALLOWED_ORIGINS: 'https://app.example',
    },
  });
  ({ pb, up } = connected);
  return connected.stop;
});

const call = { method: 'POST', path: '/connect/default/c/mcp', body: JSON.stringify(echoCall()) };

describe('Host', () => {
  const allowed = [
    'patchbay.example',
    'PATCHBAY.example',
    'localhost',
    'localhost:1',
    '127.0.0.1:8787',
    '127.5.5.5',
    '[::1]',
    '[::1]:99',
    'x.localhost',
    'gw.example',
    'gw.example:9999',
    'GW.EXAMPLE',
    'other.example:8443',
  ];
  const refused = [
    'evil.example',
    'evil.example:8787',
    'patchbay.example.evil.example',
    'localhost.evil.example',
    '127.0.0.1.nip.io',
    'notlocalhost',
    'gw.example.',
    'xgw.example',
    'other.example',
    'other.example:80',
    '10.0.0.1',
    '0.0.0.0',
    '[::]',
    '[::ffff:7f00:1]',
    'user@localhost',
    'localhost@evil.example',
    'localhost/evil',
    'localhost?x',
    'localhost#x',
    'localhost, evil.example',
    'localhost evil',
    ':80',
    'localhost:port',
    'localhost:99999999',
  ];

  test.each(allowed)('%s is answered', async (host) => {
    expect((await raw(pb, { path: '/connect/default', headers: { host } })).status).toBe(200);
    expect((await raw(pb, { ...call, headers: { ...jsonContent, host } })).status).toBe(200);
  });

  test.each(refused)('%j is refused on every path', async (host) => {
    const seen = up.received.length;
    for (const path of [
      '/health',
      '/connect/default',
      '/default/c',
      '/namespaces',
      '/openapi.json',
      '/docs',
      '/nowhere',
    ]) {
      const { status, text } = await raw(pb, { path, headers: { host } });
      expect(status, path).toBe(403);
      expect(text).not.toContain('connectionId');
    }
    const { status, text } = await raw(pb, { ...call, headers: { ...jsonContent, host } });
    expect([400, 403]).toContain(status);
    if (status === 403)
      expect(JSON.parse(text)).toMatchObject({ jsonrpc: '2.0', id: null, error: { code: 40302 } });
    expect(up.received.length).toBe(seen);
  });

  test('a preflight under a wrong Host is refused too', async () => {
    const headers = {
      host: 'evil.example',
      origin: 'https://app.example',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization',
    };
    const { status } = await raw(pb, {
      method: 'OPTIONS',
      path: '/connect/default',
      headers,
      authorized: false,
    });
    expect(status).toBe(403);
  });

  test('forwarded hosts count for nothing', async () => {
    const { status } = await raw(pb, {
      path: '/health',
      headers: { host: 'evil.example', 'x-forwarded-host': 'localhost', forwarded: 'host=localhost' },
    });
    expect(status).toBe(403);
  });
});

describe('Origin', () => {
  const allowed = [
    'https://patchbay.example',
    'https://app.example',
    'http://localhost:3000',
    'http://127.0.0.1:1',
    'http://[::1]:5',
  ];
  const refused = [
    'https://evil.example',
    'http://app.example',
    'https://app.example:444',
    'https://app.example.evil.example',
    'null',
    'file://',
    'https://',
    'nonsense',
    'http://localhost.evil.example',
    'chrome-extension://abc',
  ];

  test.each(allowed)(
    '%s may use the MCP endpoint and read REST answers, never with cookies',
    async (origin) => {
      const mcp = await raw(pb, { ...call, headers: { ...jsonContent, origin } });
      const rest = await raw(pb, { path: '/connect/default', headers: { origin } });
      for (const { status, headers } of [mcp, rest]) {
        expect(status).toBe(200);
        expect(headers['access-control-allow-origin']).toBe(origin);
        expect(headers['access-control-allow-credentials']).toBeUndefined();
        expect(headers.vary).toMatch(/origin/i);
      }
    },
  );

  test.each(refused)('%j is refused at the MCP endpoint and may read nothing else', async (origin) => {
    const seen = up.received.length;
    for (const path of [call.path, '/default/c/mcp']) {
      const { status, text, headers } = await raw(pb, { ...call, path, headers: { ...jsonContent, origin } });
      expect(status).toBe(403);
      expect(JSON.parse(text)).toMatchObject({ jsonrpc: '2.0', error: { code: 40303 } });
      expect(headers['access-control-allow-origin']).toBeUndefined();
    }
    const { headers } = await raw(pb, { path: '/connect/default', headers: { origin } });
    expect(headers['access-control-allow-origin']).toBeUndefined();
    expect(up.received.length).toBe(seen);
  });
});

describe('CORS preflight', () => {
  const asks =
    'authorization,content-type,mcp-session-id,mcp-protocol-version,x-stainless-arch,x-stainless-lang,x-stainless-os,x-stainless-package-version,x-stainless-retry-count,x-stainless-runtime,x-stainless-runtime-version,x-stainless-timeout';
  const preflight = (path: string, origin: string, method: string) =>
    raw(pb, {
      method: 'OPTIONS',
      path,
      authorized: false,
      headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': asks },
    });

  test.each([
    '/connect/default',
    '/connect/default/c',
    '/default/c',
    '/connect/default/c/.tools/echo',
    '/connect/default/c/mcp',
    '/namespaces',
    '/servers?pageSize=1',
  ])('lets the SDK in a browser call %s', async (path) => {
    for (const method of ['GET', 'POST', 'PUT', 'DELETE']) {
      const { status, headers } = await preflight(path, 'https://app.example', method);
      expect([200, 204]).toContain(status);
      expect(headers['access-control-allow-origin']).toBe('https://app.example');
      expect(headers['access-control-allow-methods']).toContain(method);
      const granted = String(headers['access-control-allow-headers']).toLowerCase().split(/, */);
      for (const name of asks.split(',')) expect(granted).toContain(name);
      expect(headers['access-control-allow-credentials']).toBeUndefined();
    }
  });

  test('grants nothing to another origin', async () => {
    const { headers, status } = await preflight('/connect/default', 'https://evil.example', 'PUT');
    expect(status).toBeLessThan(500);
    expect(headers['access-control-allow-origin']).toBeUndefined();
  });

  test('errors can be read by the page that may call', async () => {
    const { status, headers } = await raw(pb, {
      path: '/connect/default/none',
      headers: { origin: 'https://app.example' },
    });
    expect(status).toBe(404);
    expect(headers['access-control-allow-origin']).toBe('https://app.example');
  });
});

test('PATCHBAY_ALLOWED_ORIGINS=* lets every page in, still without cookies', async () => {
  const open = await startPatchbay({ env: { PATCHBAY_ALLOWED_ORIGINS: '*' } });
  const { status, headers } = await raw(open, {
    path: '/connect/default',
    headers: { origin: 'https://any.example' },
  });
  expect(status).toBe(200);
  expect(['*', 'https://any.example']).toContain(headers['access-control-allow-origin']);
  expect(headers['access-control-allow-credentials']).toBeUndefined();
  await open.stop();
});
