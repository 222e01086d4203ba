import { beforeAll, describe, expect, test } from 'vitest';
import { legacyServer, type Upstream } from '../fixtures/upstream.ts';
import { useContract } from './harness.ts';

const contract = useContract();
let upstream: Upstream;
beforeAll(async () => {
  upstream = await contract.upstream(legacyServer().handler);
});

interface Page {
  connections: { connectionId: string }[];
  nextCursor: string | null;
}

/** A namespace of a test's own. */
async function freshNamespace(): Promise<string> {
  return (await contract.sdk().namespaces.create()).name;
}

/** Makes connections one after the other, so that their order is known. */
async function fill(namespace: string, ids: string[], metadata?: Record<string, unknown>): Promise<void> {
  for (const id of ids) {
    const body = metadata ? { mcpUrl: upstream.url, metadata } : { mcpUrl: upstream.url };
    await contract.sdk().connections.set(id, { namespace, ...body });
  }
}

/** The ids of a page, as its query finds them. */
async function idsOf(namespace: string, query: string): Promise<string[]> {
  const answer = await contract.request(`/${namespace}?${query}`);
  expect([query, answer.status]).toEqual([query, 200]);
  return (answer.body as Page).connections.map(({ connectionId }) => connectionId);
}

const numbered = (count: number) => Array.from({ length: count }, (_, i) => `c${i + 1}`);

describe('GET /{namespace}', () => {
  test('is empty, with no next page, where nothing is', async () => {
    expect(await contract.sdk().connections.list(await freshNamespace())).toEqual({
      connections: [],
      nextCursor: null,
    });
  });

  test('shows each connection as get does, oldest first', async () => {
    const namespace = await freshNamespace();
    await fill(namespace, ['zebra', 'ant', 'moth'], { a: 1 });
    const { connections } = await contract.sdk().connections.list(namespace);
    expect(connections.map(({ connectionId }) => connectionId)).toEqual(['zebra', 'ant', 'moth']);
    for (const shown of connections) {
      expect(await contract.sdk().connections.get(shown.connectionId, { namespace })).toEqual(shown);
    }
  });

  test('shows nothing of another namespace', async () => {
    const [mine, other] = [await freshNamespace(), await freshNamespace()];
    await fill(mine, ['same-id', 'mine']);
    await fill(other, ['same-id']);
    expect(await idsOf(other, '')).toEqual(['same-id']);
  });
});

describe('paging', () => {
  test('follows nextCursor through several pages to null, each connection once', async () => {
    const namespace = await freshNamespace();
    const ids = numbered(7);
    await fill(namespace, ids);
    const pages: string[][] = [];
    let cursor: string | undefined;
    do {
      const page = await contract
        .sdk()
        .connections.list(namespace, { limit: 3, ...(cursor === undefined ? {} : { cursor }) });
      pages.push(page.connections.map(({ connectionId }) => connectionId));
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
    expect(pages).toEqual([ids.slice(0, 3), ids.slice(3, 6), ids.slice(6)]);
  });

  test('ends with null when the last page is exactly full', async () => {
    const namespace = await freshNamespace();
    await fill(namespace, numbered(4));
    const first = await contract.sdk().connections.list(namespace, { limit: 2 });
    const last = await contract
      .sdk()
      .connections.list(namespace, { limit: 2, cursor: first.nextCursor as string });
    expect(last.connections).toHaveLength(2);
    expect(last.nextCursor).toBeNull();
  });

  test('shows the rest once though connections come and go between pages', async () => {
    const namespace = await freshNamespace();
    await fill(namespace, numbered(5));
    const first = await contract.sdk().connections.list(namespace, { limit: 2 });
    for (const id of ['c1', 'c2', 'c4']) await contract.sdk().connections.delete(id, { namespace });
    await fill(namespace, ['c6']);
    expect(await idsOf(namespace, `limit=10&cursor=${first.nextCursor}`)).toEqual(['c3', 'c5', 'c6']);
  });

  test('has 100 on a page unless told, and at most', async () => {
    const namespace = await freshNamespace();
    await fill(namespace, numbered(101));
    for (const query of ['', 'limit=100']) {
      const { body } = await contract.request(`/${namespace}?${query}`);
      expect((body as Page).connections).toHaveLength(100);
      expect(await idsOf(namespace, `cursor=${(body as Page).nextCursor}`)).toEqual(['c101']);
    }
  });

  test('keeps to the filters', async () => {
    const namespace = await freshNamespace();
    for (const id of numbered(6)) await fill(namespace, [id], { even: Number(id.slice(1)) % 2 === 0 });
    const first = await contract.request(`/${namespace}?metadata.even=true&limit=2`);
    const { connections, nextCursor } = first.body as Page;
    expect(connections.map(({ connectionId }) => connectionId)).toEqual(['c2', 'c4']);
    expect(await idsOf(namespace, `metadata.even=true&limit=2&cursor=${nextCursor}`)).toEqual(['c6']);
  });

  test.each(['0', '101', '-1', '1.5', 'ten', '', '1e1', '99999999999999999999', '0x10'])(
    'limit=%j is 400 naming limit',
    async (limit) => {
      const answer = await contract.request(`/default?limit=${encodeURIComponent(limit)}`);
      expect(answer).toMatchObject({
        status: 400,
        body: { error: 'validation_error', message: expect.stringContaining('limit') },
      });
    },
  );

  test.each([
    '',
    'nonsense',
    '%00',
    Buffer.from('[]').toString('base64url'),
    Buffer.from('["x","y"]').toString('base64url'),
    Buffer.from('{"createdAt":1}').toString('base64url'),
    Buffer.from('null').toString('base64url'),
  ])('cursor=%j, which no page gave, is 400', async (cursor) => {
    const answer = await contract.request(`/default?cursor=${cursor}`);
    expect(answer).toMatchObject({ status: 400, body: { message: expect.stringContaining('cursor') } });
  });

  test('a parameter that is there twice is 400', async () => {
    for (const query of ['limit=1&limit=2', 'name=a&name=b', 'cursor=a&cursor=b']) {
      expect([query, (await contract.request(`/default?${query}`)).status]).toEqual([query, 400]);
    }
  });
});

describe('filters', () => {
  let namespace: string;
  let second: Upstream;
  beforeAll(async () => {
    namespace = await freshNamespace();
    second = await contract.upstream(legacyServer().handler);
    const { connections } = contract.sdk();
    const metadata: Record<string, Record<string, unknown>> = {
      alice: { userId: 'u1', team: 'red', 'a.b': 'dotted', a: { b: 'nested' } },
      bob: { userId: 'u2', team: 'red', count: 7, on: true, off: false, none: null, list: [1, 'x'] },
      carol: { userId: 'u3', team: 'blue', count: '7', emoji: '🐙', 'odd key[]&=': 'v', empty: '' },
    };
    for (const [id, value] of Object.entries(metadata)) {
      await connections.set(id, { namespace, mcpUrl: upstream.url, name: `Name of ${id}`, metadata: value });
    }
    await connections.set('dave', { namespace, mcpUrl: second.url, name: 'Name of alice' });
  });

  test('name matches exactly', async () => {
    expect(await idsOf(namespace, 'name=Name%20of%20alice')).toEqual(['alice', 'dave']);
    expect(await idsOf(namespace, 'name=name%20of%20alice')).toEqual([]);
    expect(await idsOf(namespace, 'name=Name')).toEqual([]);
    const { connections } = await contract.sdk().connections.list(namespace, { name: 'Name of bob' });
    expect(connections.map(({ connectionId }) => connectionId)).toEqual(['bob']);
  });

  test('mcpUrl matches exactly', async () => {
    const { connections } = await contract.sdk().connections.list(namespace, { mcpUrl: second.url });
    expect(connections.map(({ connectionId }) => connectionId)).toEqual(['dave']);
    expect(await idsOf(namespace, `mcpUrl=${encodeURIComponent(`${second.url}/`)}`)).toEqual([]);
    expect(await idsOf(namespace, 'mcpUrl=nonsense')).toEqual([]);
  });

  test.each<[query: string, ids: string[]]>([
    ['metadata.userId=u1', ['alice']],
    ['metadata[userId]=u1', ['alice']],
    ['metadata%5BuserId%5D=u1', ['alice']],
    ['metadata.team=red', ['alice', 'bob']],
    ['metadata.team=red&metadata.userId=u2', ['bob']],
    ['metadata.team=red&metadata[userId]=u3', []],
    ['metadata.team=red&name=Name%20of%20bob', ['bob']],
    ['metadata.team=Red', []],
    ['metadata.team=', []],
    ['metadata.empty=', ['carol']],
    // The literal key, not a path into the value (design §8, Lists).
    ['metadata.a.b=dotted', ['alice']],
    ['metadata.a.b=nested', []],
    // What is no string matches its JSON, as the vendor's command line asks for it.
    ['metadata.count=7', ['bob', 'carol']],
    ['metadata.on=true', ['bob']],
    ['metadata.off=false', ['bob']],
    ['metadata.none=null', ['bob']],
    [`metadata.list=${encodeURIComponent('[1,"x"]')}`, ['bob']],
    [`metadata.a=${encodeURIComponent('{"b":"nested"}')}`, ['alice']],
    [`metadata.emoji=${encodeURIComponent('🐙')}`, ['carol']],
    [`metadata.${encodeURIComponent('odd key[]&=')}=v`, ['carol']],
    ['metadata.missing=x', []],
    ['metadata.__proto__=x', []],
    ['metadata.constructor=x', []],
    ['metadata[__proto__]=x', []],
    ["metadata.userId='%20or%201=1--", []],
  ])('%s', async (query, ids) => {
    expect(await idsOf(namespace, query)).toEqual(ids);
  });

  test('the SDK’s own spelling of metadata is understood', async () => {
    const query = { metadata: { userId: 'u2', team: 'red' } } as Record<string, unknown>;
    const { connections } = await contract.sdk().connections.list(namespace, query);
    expect(connections.map(({ connectionId }) => connectionId)).toEqual(['bob']);
  });
});
