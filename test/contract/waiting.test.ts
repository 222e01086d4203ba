import { createConnection, SmitheryAuthorizationError } from '@smithery/api/mcp';
import { beforeAll, describe, expect, test } from 'vitest';
import { legacyServer, type Upstream } from '../fixtures/upstream.ts';
import { refusal, useContract } from './harness.ts';
import { setupUrlOf, storeStatus, withSetupUrl } from './stored-status.ts';

/** What callers get of connections that wait for their user. The tests store that state themselves. */
const contract = useContract();
const namespace = 'default';
const login = { state: 'auth_required' };
const input = {
  state: 'input_required',
  http: {
    headers: { 'X-Api-Key': { label: 'API key', description: 'From your account page', required: true } },
    query: { region: { label: 'Region' } },
  },
  missing: { headers: ['X-Api-Key'], query: [] },
};
let upstream: Upstream;

beforeAll(async () => {
  upstream = await contract.upstream(legacyServer().handler);
  for (const [id, status] of Object.entries({ login, input })) {
    await contract.sdk().connections.set(id, { namespace, mcpUrl: upstream.url });
    await storeStatus(contract, id, status);
  }
  upstream.received.length = 0;
  upstream.wellKnown.length = 0;
});

const rpc = { jsonrpc: '2.0', id: 'r', method: 'tools/list' };
const post = (connectionId: string) =>
  contract.request(`/connect/default/${connectionId}/mcp`, { method: 'POST', json: rpc });

/** The setup URL that a reader gets now. */
async function readSetupUrl(connectionId: string): Promise<string> {
  const { status } = await contract.sdk().connections.get(connectionId, { namespace });
  return (status as { setupUrl: string }).setupUrl;
}

describe('auth_required', () => {
  test('shows both setup URLs in get and list', async () => {
    const { connections } = contract.sdk();
    const shown = withSetupUrl(contract, 'login', login);
    expect((await connections.get('login', { namespace })).status).toEqual(shown);
    const { connections: listed } = await connections.list(namespace, { name: 'login' });
    expect(listed.map(({ status }) => status)).toEqual([shown]);
  });

  test('is 401 with -32001 and the URL on the MCP endpoint', async () => {
    const answer = await post('login');
    expect(answer.status).toBe(401);
    expect(answer.body).toEqual({
      jsonrpc: '2.0',
      id: 'r',
      error: {
        code: -32001,
        message: 'Authorization required',
        data: { authorizationUrl: setupUrlOf(contract, 'login') },
      },
    });
  });

  test('becomes a SmitheryAuthorizationError in the SDK', async () => {
    const error = await createConnection({ client: contract.sdk(), namespace, connectionId: 'login' }).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(SmitheryAuthorizationError);
    expect(error).toMatchObject({
      authorizationUrl: setupUrlOf(contract, 'login'),
      connectionId: 'login',
    });
  });

  test('is 422 with the URL in the message on .tools', async () => {
    const { tools } = contract.sdk().connections;
    for (const work of [
      () => tools.list('login', { namespace }),
      () => tools.get('echo', { namespace, connectionId: 'login' }),
      () => tools.call('echo', { namespace, connectionId: 'login', body: {} }),
    ]) {
      expect(await refusal(work())).toMatchObject({
        status: 422,
        body: { error: 'auth_required', message: setupUrlOf(contract, 'login') },
      });
    }
  });
});

describe('input_required', () => {
  test('shows what is missing in get and list', async () => {
    const { connections } = contract.sdk();
    const shown = withSetupUrl(contract, 'input', input);
    expect((await connections.get('input', { namespace })).status).toEqual(shown);
    const { connections: listed } = await connections.list(namespace, { name: 'input' });
    expect(listed.map(({ status }) => status)).toEqual([shown]);
  });

  test('is 409 with -32002 and what is missing on the MCP endpoint, not to be repeated', async () => {
    const answer = await post('input');
    expect(answer.status).toBe(409);
    expect(answer.headers.get('x-should-retry')).toBe('false');
    expect(answer.body).toEqual({
      jsonrpc: '2.0',
      id: 'r',
      error: {
        code: -32002,
        message: 'Input required',
        data: { http: input.http, missing: input.missing },
      },
    });
  });

  test('is 422 with the URL in the message on .tools', async () => {
    const { tools } = contract.sdk().connections;
    for (const work of [
      () => tools.list('input', { namespace }),
      () => tools.get('echo', { namespace, connectionId: 'input' }),
      () => tools.call('echo', { namespace, connectionId: 'input', body: {} }),
    ]) {
      expect(await refusal(work())).toMatchObject({
        status: 422,
        body: { error: 'input_required', message: setupUrlOf(contract, 'input') },
      });
    }
  });
});

describe('POST /{namespace}/{connectionId}/.setup', () => {
  test.each(['', '/connect'])('gives a setup URL in any state, below %s', async (prefix) => {
    const own = await contract.upstream(legacyServer().handler);
    await contract.sdk().connections.set(`works${prefix}`, { namespace, mcpUrl: own.url });
    for (const id of ['login', 'input', `works${prefix}`]) {
      const answer = await contract.request(`${prefix}/default/${encodeURIComponent(id)}/.setup`, {
        method: 'POST',
      });
      expect(answer).toMatchObject({ status: 200, body: { setupUrl: setupUrlOf(contract, id) } });
      expect((await fetch((answer.body as { setupUrl: string }).setupUrl)).status).toBe(200);
    }
    const { status } = await contract.sdk().connections.get(`works${prefix}`, { namespace });
    expect(status).toEqual({ state: 'connected' });
  });

  test('is 404 where there is no connection, and 400 with a body that says anything', async () => {
    const ask = (id: string, json?: unknown) =>
      contract.request(`/default/${id}/.setup`, { method: 'POST', json });
    for (const id of ['none', 'no%00thing']) {
      expect(await ask(id)).toMatchObject({ status: 404, body: { message: 'Connection not found' } });
    }
    expect((await ask('login', {})).status).toBe(200);
    expect((await ask('login', { returnUrl: 'https://app.example' })).status).toBe(400);
  });
});

test('the upstream of a connection that waits for its user is never called', async () => {
  for (const id of ['login', 'input']) {
    await post(id);
    await contract.request(`/default/${id}/.tools`);
    await contract.request(`/default/${id}`);
    await fetch(await readSetupUrl(id));
  }
  await contract.request('/default/.tools');
  expect([...upstream.received, ...upstream.wellKnown]).toEqual([]);
});

test('the states and the links survive a restart, and a PUT that reaches the upstream ends both', async () => {
  const { port } = new URL(contract.url);
  const links = await Promise.all(['login', 'input'].map(readSetupUrl));
  await contract.pb.restart();
  const pathsNow = links.map((link) => link.replace(`:${port}`, `:${new URL(contract.url).port}`));
  const pageStatuses = () => Promise.all(pathsNow.map(async (link) => (await fetch(link)).status));
  expect(await pageStatuses()).toEqual([200, 200]);
  const { connections } = contract.sdk();
  for (const [id, status] of Object.entries({ login, input })) {
    expect((await connections.get(id, { namespace })).status).toEqual(withSetupUrl(contract, id, status));
    expect((await connections.set(id, { namespace })).status).toEqual({ state: 'connected' });
    expect((await post(id)).status).toBe(200);
  }
  expect(await pageStatuses()).toEqual([410, 410]);
});
