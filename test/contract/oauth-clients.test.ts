import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { testsOnPostgres } from '../fixtures/database.ts';
import { type RequestOptions, useContract } from './harness.ts';

const path = '/namespaces/default/oauth-clients';
const issuer = 'https://login.example/tenant/v2.0';
const secret = `sentinel-secret-${randomBytes(12).toString('hex')}`;

const { privateKey: ecKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const pem = ecKey.export({ type: 'pkcs8', format: 'pem' }) as string;
const jwk = ecKey.export({ format: 'jwk' });
const keyLine = pem.split('\n')[1] as string;

const contract = useContract({ env: { PATCHBAY_LOG_LEVEL: 'trace' } });
let otherKey: string;
/** Every answer of this file. */
const answers: string[] = [];

beforeAll(async () => {
  otherKey = (await contract.pb.store.otherOrganization('others-own')).key;
});
beforeEach(() => contract.pb.store.db.deleteFrom('oauth_clients').execute());

async function send(init: RequestOptions = {}, at = path) {
  const { status, headers, text } = await contract.request(at, init);
  answers.push(JSON.stringify([...headers]) + text);
  return { status, headers, body: JSON.parse(text) };
}
const post = (json: unknown, at?: string) => send({ method: 'POST', json }, at);
const remove = (id: string) => send({ method: 'DELETE' }, `${path}/${id}`);
const listed = async () => (await send()).body.oauthClients;

describe.each([
  ['GET', path],
  ['POST', path],
  ['DELETE', `${path}/oac_x`],
])('%s %s', (method, at) => {
  const json = method === 'POST' ? { json: { issuer, clientId: 'c' } } : {};

  test('answers 401 without a key and with a wrong one', async () => {
    for (const key of [null, 'wrong-key-000000']) {
      const { status, body } = await send({ method, key, ...json }, at);
      expect({ status, body }).toEqual({ status: 401, body: { error: expect.any(String) } });
    }
  });

  test('answers 404 for another organization’s namespace, as for one that is not there', async () => {
    for (const [key, namespace] of [
      [contract.pb.key, 'nobody-has-it'],
      [contract.pb.key, 'others-own'],
      [otherKey, 'default'],
    ] as const) {
      const { status, body } = await send({ method, key, ...json }, at.replace('default', namespace));
      expect({ status, body }).toEqual({
        status: 404,
        body: { error: 'Namespace not found or access denied' },
      });
    }
    expect(await contract.pb.store.db.selectFrom('oauth_clients').selectAll().execute()).toEqual([]);
  });
});

describe('POST /namespaces/{namespace}/oauth-clients', () => {
  const view = { id: expect.stringMatching(/^oac_[\w-]{22}$/), createdAt: expect.any(String) };
  const usual = { clientId: 'c', tokenEndpointAuthMethod: 'none', grantType: 'authorization_code' };

  test.each<[string, object, object]>([
    ['a public client', { issuer, clientId: 'c' }, { issuer, ...usual }],
    [
      'a secret',
      { issuer, clientId: 'c', clientSecret: secret, scope: 'a b:c' },
      { issuer, ...usual, tokenEndpointAuthMethod: 'client_secret_basic', scope: 'a b:c' },
    ],
    [
      'a secret in the body',
      {
        issuer,
        clientId: 'c',
        clientSecret: secret,
        tokenEndpointAuthMethod: 'client_secret_post',
        grantType: 'client_credentials',
      },
      {
        issuer,
        ...usual,
        tokenEndpointAuthMethod: 'client_secret_post',
        grantType: 'client_credentials',
      },
    ],
    [
      'a key in PEM',
      { issuer, clientId: 'c', privateKey: pem },
      { issuer, ...usual, tokenEndpointAuthMethod: 'private_key_jwt' },
    ],
    [
      'a JWK and its algorithm',
      { issuer, clientId: 'c', privateKey: jwk, algorithm: 'ES256', grantType: 'client_credentials' },
      {
        issuer,
        ...usual,
        tokenEndpointAuthMethod: 'private_key_jwt',
        grantType: 'client_credentials',
      },
    ],
    [
      'a server, without the query, which may hold a key',
      { server: `https://MCP.example/mcp?key=${secret}#x`, clientId: 'c' },
      { server: 'https://mcp.example/mcp', ...usual },
    ],
    [
      'a server on plain http',
      { server: 'http://mcp.internal/mcp', clientId: 'c' },
      { server: 'http://mcp.internal/mcp', ...usual },
    ],
    [
      'an issuer on loopback',
      { issuer: 'http://127.0.0.1:9000', clientId: 'c' },
      { issuer: 'http://127.0.0.1:9000', ...usual },
    ],
    [
      'an issuer as it is written',
      { issuer: 'https://LOGIN.example:443/a/../b/', clientId: 'c' },
      { issuer: 'https://LOGIN.example:443/a/../b/', ...usual },
    ],
  ])('takes %s, and shows it without its secret', async (_what, json, shown) => {
    const { status, body } = await post(json);
    expect({ status, body }).toEqual({ status: 201, body: { ...view, ...shown } });
    expect(new Date(body.createdAt).toISOString()).toBe(body.createdAt);
    expect(await listed()).toEqual([body]);
  });

  const given = { issuer, clientId: 'c' };
  test.each<[unknown, RegExp]>([
    [{ ...given, colour: 'red' }, /colour/],
    [{ clientId: 'c' }, /^issuer, server: give one of the two/],
    [{ issuer }, /^clientId/],
    [{ ...given, clientId: '' }, /^clientId/],
    [{ ...given, clientId: 'naïve' }, /^clientId/],
    [{ ...given, clientId: 'x'.repeat(4097) }, /^clientId: must be at most 4096/],
    [{ ...given, issuer: 'login.example' }, /^issuer: must be an https/],
    [{ ...given, issuer: 'http://login.example' }, /^issuer: must be an https/],
    [{ ...given, issuer: 'https://u:p@login.example' }, /^issuer: must be an https/],
    [{ ...given, issuer: 'https://login.example/?x=1' }, /^issuer: must be an https/],
    [{ ...given, issuer: 'https://login.example/#x' }, /^issuer: must be an https/],
    [{ ...given, issuer: 'https://login.example/\u0000' }, /^issuer: must be an https/],
    [{ ...given, issuer: `https://login.example/${'x'.repeat(2048)}` }, /^issuer: must be at most/],
    [{ server: 'mcp.example', clientId: 'c' }, /^server: must be an http/],
    [{ server: 'ftp://mcp.example/', clientId: 'c' }, /^server: must be an http/],
    [{ server: 'https://u:p@mcp.example/', clientId: 'c' }, /^server: must be an http/],
    [{ server: `https://mcp.example/${'x'.repeat(2048)}`, clientId: 'c' }, /^server: must be at most/],
    [{ ...given, clientSecret: '' }, /^clientSecret/],
    [{ ...given, clientSecret: `${secret}\n` }, /^clientSecret/],
    [{ ...given, clientSecret: [secret] }, /^clientSecret/],
    [{ ...given, clientSecret: secret.repeat(200) }, /^clientSecret: must be at most 4096/],
    [{ ...given, clientSecret: secret, privateKey: pem }, /^clientSecret: is not used with private_key_jwt/],
    [{ ...given, clientSecret: secret, tokenEndpointAuthMethod: 'none' }, /^clientSecret: is not used/],
    [{ ...given, privateKey: pem, tokenEndpointAuthMethod: 'none' }, /^privateKey: is not used with none/],
    [
      { ...given, privateKey: pem, tokenEndpointAuthMethod: 'client_secret_post' },
      /^clientSecret: is needed/,
    ],
    [{ ...given, tokenEndpointAuthMethod: 'client_secret_basic' }, /^clientSecret: is needed/],
    [{ ...given, tokenEndpointAuthMethod: 'private_key_jwt' }, /^privateKey: is needed/],
    [{ ...given, tokenEndpointAuthMethod: 'tls_client_auth' }, /^tokenEndpointAuthMethod/],
    [{ ...given, privateKey: `${pem.slice(0, 60)}${secret}` }, /^privateKey: must be a private key/],
    [{ ...given, privateKey: { ...jwk, d: undefined } }, /^privateKey: must be a private key/],
    [{ ...given, privateKey: { kty: 'oct', k: secret } }, /^privateKey: must be a private key/],
    [{ ...given, privateKey: 7 }, /^privateKey: must be PEM text or a JWK/],
    [{ ...given, privateKey: secret.repeat(500) }, /^privateKey: must be at most/],
    [{ ...given, privateKey: pem, algorithm: 'RS256' }, /^algorithm: must be ES256 with this key/],
    [{ ...given, privateKey: pem, algorithm: 'none' }, /^algorithm: must be ES256/],
    [{ ...given, clientSecret: secret, algorithm: 'HS256' }, /^algorithm/],
    [{ ...given, grantType: 'client_credentials' }, /^grantType: client_credentials needs/],
    [{ ...given, grantType: 'password' }, /^grantType/],
    [{ ...given, scope: '' }, /^scope/],
    [{ ...given, scope: 'a  b' }, /^scope/],
    [{ ...given, scope: 'a"b' }, /^scope/],
    [[], /^body/],
  ])('refuses %j', async (json, problem) => {
    const { status, body } = await post(json);
    expect({ status, body }).toEqual({ status: 400, body: { error: expect.stringMatching(problem) } });
    expect(await listed()).toEqual([]);
  });

  test('answers 400 without a body', async () => {
    expect((await send({ method: 'POST' })).status).toBe(400);
  });

  test.each([
    ['issuer', { issuer }, { issuer: `${issuer}/` }],
    ['server', { server: 'https://mcp.example/mcp?a=1' }, { server: 'https://mcp.example:443/mcp' }],
  ])('answers 409 for a second one of the same %s, until the first is deleted', async (what, one, two) => {
    const first = await post({ ...one, clientId: 'first' });
    const refused = await post({ ...two, clientId: 'second' });
    expect(refused).toMatchObject({
      status: 409,
      body: { error: `The namespace has an OAuth client for this ${what} already. Delete it first.` },
    });
    expect(refused.headers.get('x-should-retry')).toBe('false');
    expect(await listed()).toEqual([first.body]);
    await remove(first.body.id);
    expect((await post({ ...two, clientId: 'second' })).status).toBe(201);
  });

  test('takes the same issuer in each namespace', async () => {
    await contract.request('/namespaces/second', { method: 'PUT', json: {} });
    const one = await post({ issuer, clientId: 'c' });
    const two = await post({ issuer, clientId: 'c' }, '/namespaces/second/oauth-clients');
    expect([one.status, two.status]).toEqual([201, 201]);
    expect(one.body.id).not.toBe(two.body.id);
    expect(await listed()).toEqual([one.body]);
  });
});

describe('GET /namespaces/{namespace}/oauth-clients', () => {
  test('lists oldest first, up to a hundred, which is all a namespace may have', async () => {
    const ids: string[] = [];
    for (let i = 0; i < 100; i++) {
      ids.push((await post({ issuer: `https://login.example/${i}`, clientId: `c${i}` })).body.id);
    }
    const { status, body } = await post({ issuer, clientId: 'one too many' });
    expect({ status, body }).toEqual({
      status: 400,
      body: { error: 'A namespace has at most 100 OAuth clients. Delete one first.' },
    });
    const clients = (await listed()) as { id: string; createdAt: string }[];
    expect(clients.map(({ id }) => id).sort()).toEqual(ids.sort());
    const times = clients.map(({ createdAt }) => createdAt);
    expect(times).toEqual([...times].sort());
  });
});

describe('DELETE /namespaces/{namespace}/oauth-clients/{id}', () => {
  test('answers success once, and 404 from then on', async () => {
    const { body } = await post({ issuer, clientId: 'c', clientSecret: secret });
    expect(await remove(body.id)).toMatchObject({ status: 200, body: { success: true } });
    expect(await remove(body.id)).toMatchObject({ status: 404, body: { error: 'OAuth client not found' } });
    expect(await listed()).toEqual([]);
  });

  test('does not reach into another namespace', async () => {
    const { body } = await post({ issuer, clientId: 'c' });
    const at = `/namespaces/others-own/oauth-clients/${body.id}`;
    expect((await send({ method: 'DELETE', key: otherKey }, at)).status).toBe(404);
    expect(await listed()).toHaveLength(1);
  });

  test.each(['no%00thing', '%F0%9F%90%99', 'x'.repeat(300)])('answers 404 for %s', async (id) => {
    expect((await remove(id)).status).toBe(404);
  });

  test('goes with the namespace', async () => {
    await contract.request('/namespaces/gone-soon', { method: 'PUT', json: {} });
    await post({ issuer, clientId: 'c', clientSecret: secret }, '/namespaces/gone-soon/oauth-clients');
    await contract.request('/namespaces/gone-soon', { method: 'DELETE' });
    await contract.request('/namespaces/gone-soon', { method: 'PUT', json: {} });
    expect((await send({}, '/namespaces/gone-soon/oauth-clients')).body).toEqual({ oauthClients: [] });
  });
});

test('no answer, no log line, no row and no file holds a secret or a key', async () => {
  await post({ issuer, clientId: 'c', clientSecret: secret });
  await post({ issuer: 'https://other.example', clientId: 'c', privateKey: pem });
  await post({ server: 'https://mcp.example/', clientId: 'c', privateKey: jwk });
  await post({ issuer, clientId: 'c', clientSecret: secret });
  await listed();
  const rows = await contract.pb.store.db.selectFrom('oauth_clients').selectAll().execute();
  expect(rows.filter(({ sealed }) => sealed !== null)).toHaveLength(3);
  const texts = [...answers, ...contract.pb.logs, JSON.stringify(rows)];
  expect(texts.some((text) => text.includes('https://other.example'))).toBe(true);

  const files: Buffer[] = [];
  for (const entry of await readdir(contract.pb.dataDir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) files.push(await readFile(join(entry.parentPath, entry.name)));
  }
  // The search itself works: what is no secret is found.
  if (!testsOnPostgres) expect(files.some((file) => file.includes('https://other.example'))).toBe(true);

  for (const hidden of [secret, keyLine, jwk.d as string]) {
    const forms = [hidden, Buffer.from(hidden).toString('hex'), Buffer.from(hidden).toString('base64')];
    for (const form of forms.map((text) => text.replace(/=+$/, '').slice(0, -1))) {
      expect(texts.filter((text) => text.includes(form))).toEqual([]);
      for (const file of files) expect(file.includes(form)).toBe(false);
    }
  }
});
