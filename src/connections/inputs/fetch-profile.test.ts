import { describe, expect, test } from 'vitest';
import type { GuardedFetch, GuardedRequest } from '../../platform/egress/guarded-fetch.ts';
import { defaultLimits } from '../../platform/limits.ts';
import { fetchProfile } from './fetch-profile.ts';

const schema = { type: 'object', properties: { key: { type: 'string' } }, required: ['key'] };
const json = (body: unknown) =>
  new Response(JSON.stringify(body), { headers: { 'content-type': 'application/schema+json' } });
const redirect = (location: string, status = 302) => new Response(null, { status, headers: { location } });

/** Fetches the profile of `mcpUrl` from a server that answers by path, and tells what it was asked. */
async function fetchFrom(
  answer: (path: string, request: GuardedRequest) => Response | Promise<Response>,
  {
    mcpUrl = 'https://mcp.example.com:8443/v1/mcp?key=secret',
    signal = new AbortController().signal,
    limits = {},
  } = {},
) {
  const asked: { url: string; request: GuardedRequest }[] = [];
  const fetch: GuardedFetch = async (url, request = {}) => {
    asked.push({ url: String(url), request });
    return answer(new URL(url).pathname, request);
  };
  return { profile: await fetchProfile({ fetch }, mcpUrl, signal, { ...defaultLimits, ...limits }), asked };
}

describe('fetchProfile', () => {
  test('asks the origin of the server, and sends no credential', async () => {
    const { profile, asked } = await fetchFrom(() => json(schema));
    expect(profile).toMatchObject({
      askedBy: 'mcp.example.com:8443',
      fields: [{ from: { kind: 'query', name: 'key' }, required: true }],
    });
    expect(asked.map(({ url }) => url)).toEqual(['https://mcp.example.com:8443/.well-known/mcp-config']);
    const { method = 'GET', headers, body } = asked[0]?.request ?? {};
    expect(method).toBe('GET');
    expect(body ?? null).toBeNull();
    expect([...new Headers(headers).keys()]).toEqual(['accept']);
  });

  test.each([400, 401, 403, 404, 405, 410])('a %i says that the server asks for nothing', async (status) => {
    expect((await fetchFrom(() => new Response('{}', { status }))).profile).toBeNull();
  });

  test.each([408, 429, 500, 502, 503])('a %i says nothing for now', async (status) => {
    expect((await fetchFrom(() => Response.json(schema, { status }))).profile).toBeUndefined();
  });

  test.each([
    ['HTML', new Response('<!doctype html><p>Hello', { headers: { 'content-type': 'text/html' } })],
    ['no schema', json({ message: 'No configuration schema available' })],
    ['no object', json([schema])],
    ['cut-off JSON', new Response('{"type": "object", "prop')],
    ['nothing', new Response(null, { status: 204 })],
    ['an answer in another encoding', new Response(new Uint8Array([0xff, 0xfe, 0x7b, 0x00]))],
  ])('%s is no profile', async (_what, response) => {
    expect((await fetchFrom(() => response)).profile).toBeNull();
  });

  test('takes a document up to the limit of bytes', async () => {
    const padded = (bytes: number) => JSON.stringify(schema).padEnd(bytes);
    const { mcpConfigBytes } = defaultLimits;
    expect((await fetchFrom(() => new Response(padded(mcpConfigBytes)))).profile).toBeTruthy();
    expect((await fetchFrom(() => new Response(padded(mcpConfigBytes + 1)))).profile).toBeNull();
  });

  test('follows redirects on the same origin', async () => {
    const { profile, asked } = await fetchFrom((path) =>
      path === '/config' ? json(schema) : redirect('https://u:p@mcp.example.com:8443/config?a=1'),
    );
    expect(profile).toBeTruthy();
    expect(asked[1]?.url).toBe('https://mcp.example.com:8443/config?a=1');
  });

  test.each([
    'https://evil.example/config',
    'https://mcp.example.com/config',
    'http://mcp.example.com:8443/c',
    'https://',
  ])('does not follow a redirect to %s', async (location) => {
    const { profile, asked } = await fetchFrom(() => redirect(location));
    expect(profile).toBeNull();
    expect(asked).toHaveLength(1);
  });

  test('does not follow a redirect in circles', async () => {
    const { profile, asked } = await fetchFrom((path) => redirect(path, 307), { limits: { redirects: 2 } });
    expect(profile).toBeNull();
    expect(asked).toHaveLength(3);
  });

  test('does not know when the server cannot be reached', async () => {
    const { profile } = await fetchFrom(() => Promise.reject(new TypeError('fetch failed')));
    expect(profile).toBeUndefined();
  });

  /** A server that never answers, as `fetch` sees it. */
  const silence = (_path: string, { signal }: GuardedRequest) =>
    new Promise<Response>((_resolve, reject) => {
      if (signal?.aborted) reject(signal.reason);
      signal?.addEventListener('abort', () => reject(signal.reason));
    });

  test('does not know when the server takes too long', async () => {
    expect((await fetchFrom(silence, { limits: { mcpConfigMs: 5 } })).profile).toBeUndefined();
  });

  test('gives up when it is told to', async () => {
    const stop = new AbortController();
    const pending = fetchFrom(silence, { signal: stop.signal, limits: { mcpConfigMs: 600_000 } });
    stop.abort();
    expect((await pending).profile).toBeUndefined();
  });
});
