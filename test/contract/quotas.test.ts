import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { until } from '../fixtures/until.ts';
import { legacyServer, type Upstream } from '../fixtures/upstream.ts';
import { refusal, useContract } from './harness.ts';

const namespace = 'default';
const list = { jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} };
const call = { jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 'wait', arguments: {} } };

describe('requests a minute', () => {
  const contract = useContract({
    limits: { tokenRequestsPerMinute: 3, namespaceRequestsPerMinute: 1_000, connectionRequestsPerMinute: 4 },
  });
  let up: Upstream;
  beforeEach(async () => {
    up ??= await contract.upstream(legacyServer({ tools: [{ name: 'echo' }] }).handler);
  });

  test('are told in each answer to a request of the API', async () => {
    const { headers } = await contract.request('/connect/default');
    expect(headers.get('ratelimit-limit')).toBe('1000');
    expect(Number(headers.get('ratelimit-remaining'))).toBeLessThan(1_000);
    expect(headers.get('ratelimit-reset')).toMatch(/^\d+$/);
    expect(headers.get('retry-after')).toBeNull();
  });

  test('more than a token may have are refused with 429 and when to come again', async () => {
    const { token } = await contract.sdk().tokens.create({ policy: [{}] });
    const sdk = contract.sdk({ apiKey: token });
    for (let i = 0; i < 3; i++) await sdk.connections.list(namespace);
    const refused = await refusal(sdk.connections.list(namespace));
    expect(refused).toMatchObject({
      status: 429,
      body: { error: 'too_many_requests', message: expect.stringContaining('service token may have 3') },
    });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(20);
    expect(refused.headers.get('ratelimit-remaining')).toBe('0');
    expect(refused.headers.get('x-should-retry')).toBeNull();
    // Its key has its own quota, and so has a sister.
    expect((await contract.request('/connect/default')).status).toBe(200);
    const sister = await contract.sdk().tokens.create({ policy: [{}] });
    await contract.sdk({ apiKey: sister.token }).connections.list(namespace);
  });

  test('of a connection are counted however it is called, and refused before anything is sent', async () => {
    await contract.sdk().connections.set('busy', { namespace, mcpUrl: up.url });
    const before = up.received.length;
    const mcp = () => contract.request('/mcp/default/busy', { method: 'POST', json: list });
    expect((await mcp()).status).toBe(200);
    expect((await contract.request('/connect/default/busy/.tools')).status).toBe(200);
    expect(
      (await contract.request('/connect/default/busy/.tools/echo', { method: 'POST', json: {} })).status,
    ).toBe(200);
    expect((await contract.request('/default/busy/.tools/echo')).status).toBe(200);
    const sent = up.received.length;
    expect(sent).toBeGreaterThan(before);

    const refused = await mcp();
    expect(refused).toMatchObject({
      status: 429,
      body: { jsonrpc: '2.0', id: 1, error: { code: 42902, message: expect.stringContaining('connection') } },
    });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await contract.request('/connect/default/busy/.tools')).toMatchObject({
      status: 429,
      body: { error: 'too_many_requests' },
    });
    expect(up.received).toHaveLength(sent);
    // Its settings and its state are no calls, and another connection is another one.
    expect((await contract.request('/connect/default/busy')).status).toBe(200);
    await contract.sdk().connections.set('idle', { namespace, mcpUrl: up.url });
    expect((await contract.request('/connect/default/idle/.tools')).status).toBe(200);
  });

  test('of one connection do not take the others from the namespace endpoint', async () => {
    await contract.request('/namespaces/several', { method: 'PUT', json: {} });
    for (const id of ['a', 'b']) {
      await contract.sdk().connections.set(id, { namespace: 'several', mcpUrl: up.url });
    }
    for (let i = 0; i < 4; i++)
      await contract.request('/several/a/.tools/echo', { method: 'POST', json: {} });
    const { body } = await contract.request('/several/.tools');
    expect(body).toMatchObject({
      a: { error: { error: 'too_many_requests' } },
      b: { tools: [{ name: 'echo' }] },
    });
  });
});

describe('calls under way', () => {
  const contract = useContract({ limits: { connectionOpenCalls: 2 } });
  let answers: (() => void)[];
  beforeEach(async () => {
    answers = [];
    const wait = () =>
      new Promise((resolve) => answers.push(() => resolve({ content: [{ type: 'text', text: 'done' }] })));
    const up = await contract.upstream(legacyServer({ tools: [{ name: 'wait' }], call: wait }).handler);
    await contract
      .sdk()
      .connections.delete('slow', { namespace })
      .catch(() => undefined);
    await contract.sdk().connections.set('slow', { namespace, mcpUrl: up.url });
  });
  afterEach(() => {
    for (const answer of answers) answer();
  });
  const post = (signal?: AbortSignal) =>
    contract.request('/mcp/default/slow', { method: 'POST', json: call, ...(signal && { signal }) });
  const atUpstream = (count: number) => until(() => answers.length === count);

  test('more than there may be are refused at once, and go through when one has ended', async () => {
    const first = post();
    const second = post();
    await atUpstream(2);
    const refused = await post();
    expect(refused).toMatchObject({ status: 429, body: { id: 7, error: { code: 42903 } } });
    expect(refused.headers.get('retry-after')).toBe('1');
    const overRest = await contract.request('/connect/default/slow/.tools/wait', {
      method: 'POST',
      json: {},
    });
    expect(overRest).toMatchObject({ status: 429, body: { error: 'too_many_calls' } });
    answers[0]?.();
    await Promise.race([first, second]);
    const third = post();
    await atUpstream(3);
    for (const answer of answers) answer();
    for (const answered of [first, second, third]) expect((await answered).status).toBe(200);
  });

  test('of a caller who went away count no more', async () => {
    for (let i = 1; i <= 6; i++) {
      const leaving = new AbortController();
      const gone = expect(post(leaving.signal)).rejects.toThrow();
      await atUpstream(i);
      leaving.abort();
      await gone;
    }
    const staying = until(async () => {
      const answer = await post();
      return answer.status === 200 ? answer : undefined;
    });
    await atUpstream(7);
    answers[6]?.();
    expect((await staying).status).toBe(200);
  });

  test('are fewer where the settings of the namespace say so, from the next call on', async () => {
    const settings = { limits: { connectionOpenCalls: 1 } };
    await contract.request('/namespaces/default/settings', { method: 'PATCH', json: settings });
    const first = post();
    await atUpstream(1);
    expect((await post()).status).toBe(429);
    await contract.request('/namespaces/default/settings', { method: 'PATCH', json: { limits: {} } });
    const second = post();
    await atUpstream(2);
    for (const answer of answers) answer();
    for (const answered of [first, second]) expect((await answered).status).toBe(200);
  });
});

describe('connections of a namespace', () => {
  const contract = useContract({ limits: { connectionsPerNamespace: 5 } });
  const create = (name: string) =>
    contract.request(`/connect/${name}`, { method: 'POST', json: { transport: 'uplink' } });
  const set = (name: string, id: string) =>
    contract.request(`/connect/${name}/${id}`, { method: 'PUT', json: { transport: 'uplink' } });

  test('are as many as there may be, also when many come at once; what exists can still be set', async () => {
    const answers = await Promise.all(Array.from({ length: 12 }, (_, i) => set('default', `c${i}`)));
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status < 300)).toHaveLength(5);
    expect(statuses.filter((status) => status === 403)).toHaveLength(7);
    expect(answers.find(({ status }) => status === 403)?.body).toMatchObject({
      error: 'limit_reached',
      message: expect.stringContaining('5 connections'),
    });
    expect((await create('default')).status).toBe(403);
    const there = statuses.findIndex((status) => status < 300);
    expect((await set('default', `c${there}`)).status).toBe(200);
    await contract.sdk().connections.delete(`c${there}`, { namespace });
    expect((await create('default')).status).toBe(201);
    expect((await create('default')).status).toBe(403);
  });

  test('are fewer where the settings say so, and never more', async () => {
    await contract.request('/namespaces/small', { method: 'PUT', json: {} });
    const patch = (connectionsPerNamespace: number) =>
      contract.request('/namespaces/small/settings', {
        method: 'PATCH',
        json: { limits: { connectionsPerNamespace } },
      });
    expect(await patch(6)).toMatchObject({
      status: 400,
      body: { error: expect.stringContaining('limits.connectionsPerNamespace') },
    });
    expect((await patch(1)).status).toBe(200);
    expect((await create('small')).status).toBe(201);
    expect((await create('small')).status).toBe(403);
    expect((await patch(2)).status).toBe(200);
    expect((await create('small')).status).toBe(201);
  });
});
