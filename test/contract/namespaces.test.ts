import { beforeAll, describe, expect, test } from 'vitest';
import { until } from '../fixtures/until.ts';
import { legacyServer } from '../fixtures/upstream.ts';
import { refusal, useContract } from './harness.ts';

const contract = useContract();
let otherKey: string;
beforeAll(async () => {
  otherKey = (await contract.pb.store.otherOrganization('others-own')).key;
});

/** The names that a list without a query shows. */
async function listed(): Promise<string[]> {
  const { body } = await contract.request('/namespaces');
  return (body as { namespaces: { name: string }[] }).namespaces.map(({ name }) => name);
}

describe('GET /namespaces', () => {
  test('lists one’s own with their times, oldest first, the first one being default', async () => {
    await contract.request('/namespaces/zulu-1', { method: 'PUT', json: {} });
    await contract.request('/namespaces/alpha-1', { method: 'PUT', json: {} });
    const { body } = await contract.request('/namespaces');
    const { namespaces } = body as { namespaces: { name: string; createdAt: string }[] };
    const names = namespaces.map(({ name }) => name);
    expect(names[0]).toBe('default');
    expect(names.indexOf('zulu-1')).toBeLessThan(names.indexOf('alpha-1'));
    expect(names).not.toContain('others-own');
    const times = namespaces.map(({ createdAt }) => createdAt);
    expect(times).toEqual([...times].sort());
  });

  test('shows another organization its own only', async () => {
    const answer = await contract.request('/namespaces', { key: otherKey });
    expect(answer.body).toEqual({
      namespaces: [{ name: 'others-own', createdAt: expect.any(String) }],
    });
  });

  test('has nothing past the end', async () => {
    for (const query of ['page=2', 'page=1000000', 'page=2&pageSize=50']) {
      const answer = await contract.request(`/namespaces?${query}`);
      expect(answer).toMatchObject({ status: 200, body: { namespaces: [] } });
    }
  });

  test('ends for the SDK’s pager, which then has each name once', async () => {
    for (let i = 0; i < 60; i++) {
      await contract.request(`/namespaces/many-${i}`, { method: 'PUT', json: {} });
    }
    const names: string[] = [];
    for await (const { name } of contract.sdk().namespaces.list()) names.push(name);
    expect(names).toEqual(await listed());
    expect(new Set(names).size).toBe(names.length);
    expect(names.length).toBeGreaterThan(60);
  });

  test('searches by prefix, in pages that the pager follows', async () => {
    for (const name of ['find-a', 'find-b', 'find-c', 'lost-find-d']) {
      await contract.request(`/namespaces/${name}`, { method: 'PUT', json: {} });
    }
    const names: string[] = [];
    for await (const { name } of contract.sdk().namespaces.list({ q: 'find-', pageSize: 2 }))
      names.push(name);
    expect(names).toEqual(['find-a', 'find-b', 'find-c']);
    const { body } = await contract.request('/namespaces?q=find-&pageSize=2&page=2');
    expect(body).toEqual({
      namespaces: [{ name: 'find-c' }],
      pagination: { currentPage: 2, pageSize: 2, totalPages: 2, totalCount: 3 },
    });
    expect((await contract.request('/namespaces?q=others')).body).toMatchObject({ namespaces: [] });
  });

  test('refuses pages that cannot be: 400', async () => {
    for (const query of ['pageSize=51', 'pageSize=0', 'page=0', 'page=-1', 'page=x']) {
      expect([query, (await contract.request(`/namespaces?${query}`)).status]).toEqual([query, 400]);
    }
  });
});

describe('POST /namespaces', () => {
  test('answers 201 with a generated, lowercase name that works at once', async () => {
    const answer = await contract.request('/namespaces', { method: 'POST' });
    expect(answer.status).toBe(201);
    const { name } = answer.body as { name: string };
    expect(name).toMatch(/^[a-z]+-[a-z0-9]{4}$/);
    expect(await listed()).toContain(name);
    expect((await contract.request(`/${name}`)).status).toBe(200);
    const other = await contract.sdk().namespaces.create();
    expect(other.name).not.toBe(name);
  });
});

describe('PUT /namespaces/{name}', () => {
  test('answers 201, the first time and every other time', async () => {
    const first = await contract.sdk().namespaces.set('my-space');
    expect(first.name).toBe('my-space');
    for (let i = 0; i < 2; i++) {
      const again = await contract.request('/namespaces/my-space', { method: 'PUT' });
      expect(again).toMatchObject({ status: 201, body: first });
    }
    expect((await listed()).filter((name) => name === 'my-space')).toHaveLength(1);
    expect((await contract.request('/my-space')).status).toBe(200);
  });

  test('answers 409 "already exists" for another organization’s, sent once by an SDK that repeats', async () => {
    const refused = await refusal(contract.sdk({ maxRetries: 2 }).namespaces.set('others-own'));
    expect(refused.status).toBe(409);
    expect(refused.message).toContain('already exists');
    expect(refused.headers.get('x-should-retry')).toBe('false');
    expect(contract.sent).toEqual(['PUT /namespaces/others-own']);
    expect(await listed()).not.toContain('others-own');
  });

  test.each(['abc', 'a'.repeat(39), '123', 'a-b-c', 'x0-9z'])('takes the name %s', async (name) => {
    expect((await contract.request(`/namespaces/${name}`, { method: 'PUT', json: {} })).status).toBe(201);
  });

  test.each([
    'ab',
    'a'.repeat(40),
    'Upper',
    'under_score',
    'dot.ted',
    'with%20space',
    'sl%2Fash',
    'caf%C3%A9',
    '%F0%9F%90%99%F0%9F%90%99',
    'nul%00nul',
    'new%0Aline',
  ])('refuses the name %s: 400', async (name) => {
    const answer = await contract.request(`/namespaces/${name}`, { method: 'PUT', json: {} });
    expect(answer).toMatchObject({ status: 400, body: { error: expect.stringContaining('name') } });
  });

  // The paths of the one origin (api.md §1; design §4 and §8).
  test.each(
    (
      'servers skills namespaces tokens organizations connect health tools uplink api oauth mcp setup docs ' +
      'app metrics audit assets static login v0 v0.1 openapi.json favicon.ico robots.txt .well-known'
    ).split(' '),
  )('refuses the reserved name %s: 400', async (name) => {
    expect((await contract.request(`/namespaces/${name}`, { method: 'PUT', json: {} })).status).toBe(400);
    expect(await listed()).not.toContain(name);
  });

  test('refuses an unknown key, naming it, and another organization', async () => {
    const unknown = await contract.request('/namespaces/keyed', { method: 'PUT', json: { colour: 'red' } });
    expect(unknown).toMatchObject({ status: 400, body: { error: expect.stringContaining('colour') } });
    const json = { organizationId: 'org_other' };
    expect((await contract.request('/namespaces/keyed', { method: 'PUT', json })).status).toBe(403);
    expect(await listed()).not.toContain('keyed');
  });
});

describe('DELETE /namespaces/{name}', () => {
  test('answers success and the name once, and 404 from then on', async () => {
    await contract.request('/namespaces/short-lived', { method: 'PUT', json: {} });
    expect((await contract.request('/short-lived')).status).toBe(200);
    expect(await contract.sdk().namespaces.delete('short-lived')).toEqual({
      success: true,
      name: 'short-lived',
    });
    expect(await refusal(contract.sdk().namespaces.delete('short-lived'))).toMatchObject({ status: 404 });
    expect((await contract.request('/short-lived')).status).toBe(404);
    expect(await listed()).not.toContain('short-lived');
  });

  test('takes the connections with it: rows, secrets and upstream sessions', async () => {
    const { handler, sessions } = legacyServer({ sessions: true });
    const upstream = await contract.upstream(handler);
    const { connections, namespaces } = contract.sdk();
    const namespace = 'cascading';
    await contract.request(`/namespaces/${namespace}`, { method: 'PUT', json: {} });
    for (const id of ['a', 'b']) {
      await connections.set(id, {
        namespace,
        mcpUrl: upstream.url,
        metadata: { k: 'v' },
        headers: { 'X-S': 's' },
      });
      await connections.tools.list(id, { namespace });
    }
    await namespaces.delete(namespace);
    expect(await refusal(connections.get('a', { namespace }))).toMatchObject({ status: 404 });
    expect(await refusal(connections.tools.list('a', { namespace }))).toMatchObject({ status: 404 });
    await until(() => sessions.size === 0);
    const { db } = contract.pb.store;
    for (const table of ['connections', 'connection_metadata', 'data_keys'] as const) {
      const rows = await db
        .selectFrom(table)
        .select('namespace')
        .where('namespace', '=', namespace)
        .execute();
      expect([table, rows]).toEqual([table, []]);
    }

    await contract.request(`/namespaces/${namespace}`, { method: 'PUT', json: {} });
    expect(await connections.list(namespace)).toEqual({ connections: [], nextCursor: null });
    expect(await refusal(connections.tools.list('a', { namespace }))).toMatchObject({ status: 404 });
    // Its secrets have a key of their own again.
    const made = await connections.set('a', { namespace, mcpUrl: upstream.url, headers: { 'X-S': 't' } });
    expect(made.status).toEqual({ state: 'connected' });
    expect(upstream.received.at(-1)?.headers).toMatchObject({ 'x-s': 't' });
  });

  test('leaves another organization’s alone: 404', async () => {
    expect(await refusal(contract.sdk().namespaces.delete('others-own'))).toMatchObject({ status: 404 });
    expect((await contract.request('/others-own', { key: otherKey })).status).toBe(200);
  });
});
