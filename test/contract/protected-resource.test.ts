import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { extractWWWAuthenticateParams } from '@modelcontextprotocol/client';
import { describe, expect, test } from 'vitest';
import { useContract } from './harness.ts';

const contract = useContract();
const ping = { jsonrpc: '2.0', id: 1, method: 'ping' };
const endpoints = [
  '/mcp/default',
  '/mcp/default/any',
  '/mcp/nowhere',
  '/connect/default/any/mcp',
  '/default/any/mcp',
  '/mcp/default/a%2Fb%22c',
];

describe.each(endpoints)('at %s', (path) => {
  const challengeOf = async (key: string | null, query = '') => {
    const answer = await contract.request(`${path}${query}`, { method: 'POST', json: ping, key });
    expect(answer.status).toBe(401);
    return answer.headers.get('www-authenticate') as string;
  };

  test('a caller without a key is told where the metadata is, and of no error', async () => {
    expect(await challengeOf(null)).toBe(
      `Bearer resource_metadata="${contract.url}/.well-known/oauth-protected-resource${path}"`,
    );
  });

  test('a caller with a wrong key is told that too', async () => {
    expect(await challengeOf('wrong')).toBe(
      `Bearer error="invalid_token", resource_metadata="${contract.url}/.well-known/oauth-protected-resource${path}"`,
    );
  });

  test('the SDK’s client finds the document, which names the endpoint and no authorization server', async () => {
    const header = await challengeOf(null, '?search=1');
    const { resourceMetadataUrl } = extractWWWAuthenticateParams(
      new Response(null, { status: 401, headers: { 'www-authenticate': header } }),
    );
    for (const key of [null, 'wrong', contract.pb.key]) {
      const answer = await contract.request(resourceMetadataUrl?.pathname as string, { key });
      expect(answer).toMatchObject({
        status: 200,
        body: {
          resource: `${contract.url}${path}`,
          bearer_methods_supported: ['header'],
          resource_name: 'Patchbay',
          resource_documentation: `${contract.url}/docs`,
        },
      });
      expect(answer.body).not.toHaveProperty('authorization_servers');
    }
  });
});

test('GET and DELETE are challenged as well', async () => {
  for (const method of ['GET', 'DELETE', 'PUT']) {
    const answer = await contract.request('/mcp/default', { method, key: null });
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer resource_metadata="/);
  }
});

test('REST is no such resource, and has a plain challenge', async () => {
  const challenge = async (key: string | null) =>
    (await contract.request('/connect/default', { key })).headers.get('www-authenticate');
  expect(await challenge(null)).toBe('Bearer');
  expect(await challenge('wrong')).toBe('Bearer error="invalid_token"');
  const none = await contract.request('/.well-known/oauth-protected-resource/namespaces', { key: null });
  expect(none.status).toBe(404);
});

test('what the path says stays inside its quotes', async () => {
  // Raw, because fetch writes such a path anew.
  const { hostname, port } = new URL(contract.url);
  const path = '/mcp/default/a"b\\c';
  const [answer] = (await once(request({ hostname, port, path, method: 'POST' }).end(), 'response')) as [
    IncomingMessage,
  ];
  answer.resume();
  expect(answer.statusCode).toBe(401);
  expect(answer.headers['www-authenticate']).toMatch(/^Bearer resource_metadata="[^"\\]+"$/);
});
