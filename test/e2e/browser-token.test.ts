import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chromiumPath, openChromium } from '../fixtures/chromium.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { legacyServer, startUpstream, type Upstream } from '../fixtures/upstream.ts';

/** What an application's page gets for a request, as its script sees it. */
interface Seen {
  status: number;
  body: unknown;
  /** Headers that the browser shows to the script. */
  headers: Record<string, string>;
}

interface Sent {
  path: string;
  method?: string;
  json?: unknown;
  token?: string;
  credentials?: 'include' | 'omit';
}

const rpc = (method: string, params: object = {}) => ({ jsonrpc: '2.0', id: 1, method, params });

describe.skipIf(chromiumPath === undefined)('a page of another origin, with a narrowed token', () => {
  let browser: Browser;
  let site: Server;
  let origin: string;
  let up: Upstream;
  let pb: TestPatchbay;
  let token: string;

  beforeAll(async () => {
    browser = await openChromium();
    site = createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>App</title>');
    });
    await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
    origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
    up = await startUpstream(legacyServer().handler);
    pb = await startPatchbay({ env: { PATCHBAY_ALLOWED_ORIGINS: origin } });
    for (const userId of ['ada', 'bob']) {
      const set = { namespace: 'default', mcpUrl: up.url, metadata: { userId } };
      await pb.sdk().connections.set(userId, set);
    }
    const policy = [
      {
        namespaces: 'default',
        operations: ['read' as const, 'execute' as const],
        metadata: { userId: 'ada' },
      },
    ];
    ({ token } = await pb.sdk().tokens.create({ policy }));
  });
  afterAll(async () => {
    await pb?.stop();
    await up?.stop();
    await browser?.close();
    site?.close();
  });

  /** What the script of the page gets; the error's text where the browser keeps the answer from it. */
  async function ask(page: Page, sent: Sent): Promise<Seen | string> {
    return page.evaluate(
      async ({ url, method, json, bearer, credentials }) => {
        try {
          const response = await fetch(url, {
            method,
            credentials,
            headers: {
              authorization: `Bearer ${bearer}`,
              accept: 'application/json, text/event-stream',
              ...(json === undefined ? {} : { 'content-type': 'application/json' }),
            },
            ...(json === undefined ? {} : { body: JSON.stringify(json) }),
          });
          const body: unknown = await response.json().catch(() => undefined);
          return { status: response.status, body, headers: Object.fromEntries(response.headers) };
        } catch (error) {
          return String(error);
        }
      },
      {
        url: `${pb.url}${sent.path}`,
        method: sent.method ?? (sent.json === undefined ? 'GET' : 'POST'),
        json: sent.json,
        bearer: sent.token ?? token,
        credentials: sent.credentials ?? 'omit',
      },
    );
  }

  async function openSite(address = origin): Promise<Page> {
    const page = await browser.newPage();
    await page.goto(address);
    return page;
  }

  test('reads and calls what it was given, over REST and MCP', async () => {
    const page = await openSite();
    expect(await ask(page, { path: '/connect/default' })).toMatchObject({
      status: 200,
      body: { connections: [{ connectionId: 'ada' }] },
      headers: { 'ratelimit-remaining': expect.any(String) },
    });
    expect(await ask(page, { path: '/connect/default/ada/.tools/echo', json: { a: 1 } })).toMatchObject({
      status: 200,
      body: { content: [{ text: '{"a":1}' }] },
    });
    const call = rpc('tools/call', { name: 'echo', arguments: { b: 2 } });
    for (const path of ['/connect/default/ada/mcp', '/mcp/default/ada']) {
      expect(await ask(page, { path, json: call })).toMatchObject({
        status: 200,
        body: { result: { content: [{ text: '{"b":2}' }] } },
      });
    }
    await page.close();
  });

  test('gets nothing else, and can read why', async () => {
    const page = await openSite();
    const before = up.received.length;
    const gone = { status: 404, body: { error: 'connection_not_found' } };
    expect(await ask(page, { path: '/connect/default/bob' })).toMatchObject(gone);
    expect(await ask(page, { path: '/connect/default/bob/.tools/echo', json: {} })).toMatchObject(gone);
    expect(await ask(page, { path: '/mcp/default/bob', json: rpc('tools/list') })).toMatchObject({
      status: 404,
    });
    expect(await ask(page, { path: '/connect/default/ada', method: 'DELETE' })).toMatchObject({
      status: 403,
      body: { message: 'Missing required permission: connections:write in namespace default' },
    });
    expect(await ask(page, { path: '/namespaces', method: 'POST', json: {} })).toMatchObject({ status: 403 });
    expect(await ask(page, { path: '/audit' })).toMatchObject({ status: 403 });
    expect(await ask(page, { path: '/connect/default', token: 'wrong' })).toMatchObject({
      status: 401,
      headers: { 'www-authenticate': expect.stringContaining('Bearer') },
    });
    expect(up.received).toHaveLength(before);
    expect((await pb.request('/connect/default/ada')).status).toBe(200);
    await page.close();
  });

  test('may mint a narrower token for a part of itself', async () => {
    const page = await openSite();
    const minted = await ask(page, {
      path: '/tokens',
      json: { policy: [{ operations: 'read', ttl: '5m' }] },
    });
    const { token: child } = (minted as Seen).body as { token: string };
    expect(await ask(page, { path: '/connect/default/ada', token: child })).toMatchObject({ status: 200 });
    expect(await ask(page, { path: '/connect/default/ada/.tools', token: child })).toMatchObject({
      status: 403,
    });
    await page.close();
  });

  test('is no page that may send cookies, or stand at an origin that was not allowed', async () => {
    const page = await openSite();
    expect(await ask(page, { path: '/connect/default', credentials: 'include' })).toMatch(/Failed to fetch/);
    await page.close();
    const before = up.received.length;
    // A sandboxed frame has the origin "null".
    const elsewhere = await openSite('data:text/html,<title>Other</title>');
    for (const sent of [
      { path: '/connect/default' },
      { path: '/connect/default/ada/.tools/echo', json: {} },
      { path: '/mcp/default/ada', json: rpc('tools/call', { name: 'echo', arguments: {} }) },
    ]) {
      expect(await ask(elsewhere, sent)).toMatch(/Failed to fetch/);
    }
    expect(up.received).toHaveLength(before);
    await elsewhere.close();
  });
});
