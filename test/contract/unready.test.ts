import { createConnection, SmitheryAuthorizationError } from '@smithery/api/mcp';
import { beforeAll, describe, expect, test } from 'vitest';
import { legacyServer, type Upstream } from '../fixtures/upstream.ts';
import { refusal, useContract } from './harness.ts';
import { storeStatus } from './stored-status.ts';

/** Connections that wait for their user: nothing sets these states yet, so the tests write them themselves. */
const contract = useContract();
const namespace = 'default';
const setupUrl = 'https://patchbay.example/default/waiting/setup?ticket=t';
const login = { state: 'auth_required', setupUrl, authorizationUrl: setupUrl };
const input = {
  state: 'input_required',
  setupUrl,
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
});

const rpc = { jsonrpc: '2.0', id: 'r', method: 'tools/list' };
const post = (connectionId: string) =>
  contract.request(`/connect/default/${connectionId}/mcp`, { method: 'POST', json: rpc });

describe('auth_required', () => {
  test('shows both setup URLs in get and list', async () => {
    const { connections } = contract.sdk();
    expect((await connections.get('login', { namespace })).status).toEqual(login);
    const { connections: listed } = await connections.list(namespace, { name: 'login' });
    expect(listed.map(({ status }) => status)).toEqual([login]);
  });

  test('is 401 with -32001 and the URL on the MCP endpoint', async () => {
    const answer = await post('login');
    expect(answer.status).toBe(401);
    expect(answer.body).toEqual({
      jsonrpc: '2.0',
      id: 'r',
      error: { code: -32001, message: 'Authorization required', data: { authorizationUrl: setupUrl } },
    });
  });

  test('becomes a SmitheryAuthorizationError in the SDK', async () => {
    const error = await createConnection({ client: contract.sdk(), namespace, connectionId: 'login' }).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(SmitheryAuthorizationError);
    expect(error).toMatchObject({ authorizationUrl: setupUrl, connectionId: 'login' });
  });

  test('is 422 with the URL in the message on .tools', async () => {
    const { tools } = contract.sdk().connections;
    for (const work of [
      tools.list('login', { namespace }),
      tools.get('echo', { namespace, connectionId: 'login' }),
      tools.call('echo', { namespace, connectionId: 'login', body: {} }),
    ]) {
      expect(await refusal(work)).toMatchObject({
        status: 422,
        body: { error: 'auth_required', message: expect.stringContaining(setupUrl) },
      });
    }
  });
});

describe('input_required', () => {
  test('shows what is missing in get and list', async () => {
    const { connections } = contract.sdk();
    expect((await connections.get('input', { namespace })).status).toEqual(input);
    const { connections: listed } = await connections.list(namespace, { name: 'input' });
    expect(listed.map(({ status }) => status)).toEqual([input]);
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
      tools.list('input', { namespace }),
      tools.get('echo', { namespace, connectionId: 'input' }),
      tools.call('echo', { namespace, connectionId: 'input', body: {} }),
    ]) {
      expect(await refusal(work)).toMatchObject({
        status: 422,
        body: { error: 'input_required', message: expect.stringContaining(setupUrl) },
      });
    }
  });
});

test('the upstream of a connection that waits for its user is never called', async () => {
  for (const id of ['login', 'input']) {
    await post(id);
    await contract.request(`/default/${id}/.tools`);
    await contract.request(`/default/${id}`);
  }
  await contract.request('/default/.tools');
  expect(upstream.received).toEqual([]);
});

test('the states survive a restart, and a PUT that reaches the upstream ends them', async () => {
  await contract.pb.restart();
  const { connections } = contract.sdk();
  for (const [id, status] of Object.entries({ login, input })) {
    expect((await connections.get(id, { namespace })).status).toEqual(status);
    expect((await connections.set(id, { namespace })).status).toEqual({ state: 'connected' });
    expect((await post(id)).status).toBe(200);
  }
});
