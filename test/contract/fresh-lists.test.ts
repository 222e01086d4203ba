import { beforeEach, describe, expect, test } from 'vitest';
import { until } from '../fixtures/until.ts';
import { modernServer, type Upstream } from '../fixtures/upstream.ts';
import { useContract } from './harness.ts';

const contract = useContract();
let server: Upstream;
let ttlMs: number;
let names: string[];
let namespace: string;
let serial = 0;

beforeEach(async () => {
  ttlMs = 60_000;
  names = ['echo'];
  namespace = `fresh-${++serial}`;
  await contract.request(`/namespaces/${namespace}`, { method: 'PUT', json: {} });
  server = await contract.upstream((request, response) => {
    const own = request.headers['x-who'];
    const tools = [...names, ...(own ? [`of-${own}`] : [])].map((name) => ({ name }));
    return modernServer({ tools, listTtlMs: ttlMs }).handler(request, response);
  });
  await contract.sdk().connections.set('c', { namespace, mcpUrl: server.url });
});

const asked = () => server.received.filter(({ message }) => message?.method === 'tools/list').length;
const listed = async (id = 'c') => {
  const { body } = await contract.request(`/connect/${namespace}/${id}/.tools`);
  return (body as { tools: { name: string }[] }).tools.map(({ name }) => name);
};

describe('a list that its server allows to be used again', () => {
  test('is not asked for again by .tools and by the endpoint of the namespace, which share it', async () => {
    expect(await listed()).toEqual(['echo']);
    names = ['other'];
    expect(await listed()).toEqual(['echo']);
    const all = await contract.request(`/${namespace}/.tools`);
    expect(all.body).toMatchObject({ c: { tools: [{ name: 'echo' }] } });
    const message = { jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} };
    const answer = await contract.request(`/mcp/${namespace}`, { method: 'POST', json: message });
    expect(answer.body).toMatchObject({ result: { tools: [{ name: 'c.echo' }] } });
    expect(asked()).toBe(1);
  });

  test('is asked for again once its time is over, and each time where that is none', async () => {
    ttlMs = 40;
    expect(await listed()).toEqual(['echo']);
    names = ['later'];
    await until(async () => (await listed())[0] === 'later');
    ttlMs = 0;
    await until(async () => {
      const before = asked();
      await listed();
      return asked() > before;
    });
    const before = asked();
    for (let i = 0; i < 3; i++) await listed();
    expect(asked()).toBe(before + 3);
  });

  test('reaches no other identity at the same server, though it calls the list public', async () => {
    const set = (id: string, who: string) =>
      contract.sdk().connections.set(id, { namespace, mcpUrl: server.url, headers: { 'x-who': who } });
    await set('ada', 'ada');
    await set('bob', 'bob');
    expect([await listed('ada'), await listed('bob')]).toEqual([
      ['echo', 'of-ada'],
      ['echo', 'of-bob'],
    ]);
    await set('ada', 'eve');
    expect(await listed('ada')).toEqual(['echo', 'of-eve']);
  });

  test('does not hide a tool that is called, nor one that changed from quarantine', async () => {
    await listed();
    names = ['fresh'];
    const call = () => contract.request(`/connect/${namespace}/c/.tools/fresh`, { method: 'POST', json: {} });
    expect((await call()).status).toBe(200);
    await contract.request(`/namespaces/${namespace}/settings`, {
      method: 'PATCH',
      json: { quarantine: true },
    });
    expect(await listed()).toEqual([]);
    expect(await call()).toMatchObject({ status: 403, body: { error: 'tool_quarantined' } });
  });
});
