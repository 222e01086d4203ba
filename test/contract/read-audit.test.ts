import { beforeAll, describe, expect, test } from 'vitest';
import { until } from '../fixtures/until.ts';
import { legacyServer } from '../fixtures/upstream.ts';
import { useContract } from './harness.ts';

const contract = useContract({ limits: { auditFlushMs: 10, auditExportRows: 3 } });
const calls = 7;
let other: { key: string; organizationId: string };

interface Entry {
  id: string;
  time: string;
  principal: { keyId: string };
  connectionId: string | null;
  method: string;
  outcome: string;
}
interface Page {
  entries: Entry[];
  nextCursor: string | null;
}

const read = async (query = '', key?: string) => {
  const answer = await contract.request(`/audit${query}`, key === undefined ? {} : { key });
  expect(answer.status).toBe(200);
  return answer.body as Page;
};
const callsOf = (id: string) => `?connectionId=${id}&method=tools/call`;

beforeAll(async () => {
  other = await contract.pb.store.otherOrganization('elsewhere');
  const call = (name: string) => ({ content: [], isError: name === 'fail' });
  const tools = [{ name: 'echo' }, { name: 'fail' }];
  const upstream = await contract.upstream(legacyServer({ tools, call }).handler);
  for (const id of ['a', 'b']) {
    await contract.sdk().connections.set(id, { namespace: 'default', mcpUrl: upstream.url });
  }
  const { connections } = contract.sdk({ apiKey: other.key });
  await connections.set('theirs', { namespace: 'elsewhere', mcpUrl: upstream.url });
  for (let i = 0; i < calls; i++) {
    const tool = i === 0 ? 'fail' : 'echo';
    await contract.request(`/default/a/.tools/${tool}`, { method: 'POST', json: {} });
  }
  await contract.request('/default/b/.tools/echo', { method: 'POST', json: {} });
  const key = other.key;
  await contract.request('/elsewhere/theirs/.tools/echo', { method: 'POST', json: {}, key });
  await until(async () => (await read(callsOf('a'))).entries.length === calls);
  await until(async () => (await read(callsOf('b'))).entries.length === 1);
  await until(async () => (await read(callsOf('theirs'), key)).entries.length === 1);
});

describe('GET /audit', () => {
  test('tells what was done in the organization, newest first', async () => {
    const { entries } = await read();
    expect(entries[0]).toEqual({
      id: expect.stringMatching(/^aud_/),
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      principal: { kind: 'api_key', keyId: expect.stringMatching(/^key_/), tokenId: null, userId: null },
      namespace: 'default',
      connectionId: 'b',
      method: 'tools/call',
      tool: 'echo',
      outcome: 'ok',
      code: null,
      status: 200,
      durationMs: expect.any(Number),
      bytesIn: 2,
      bytesOut: expect.any(Number),
      traceId: null,
      detail: null,
    });
    const times = entries.map(({ time }) => time);
    expect(times).toEqual([...times].sort().reverse());
    expect(entries.map(({ connectionId }) => connectionId)).not.toContain('theirs');
    const theirs = await read('', other.key);
    expect(new Set(theirs.entries.map(({ connectionId }) => connectionId))).toEqual(new Set(['theirs']));
  });

  test('comes in pages that have each entry once', async () => {
    const seen: string[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const page: Page = await read(`${callsOf('a')}&limit=2${cursor && `&cursor=${cursor}`}`);
      expect(page.entries.length).toBeLessThanOrEqual(2);
      seen.push(...page.entries.map(({ id }) => id));
      cursor = page.nextCursor;
    }
    expect(seen).toEqual((await read(callsOf('a'))).entries.map(({ id }) => id));
    expect(new Set(seen).size).toBe(calls);
  });

  test('is filtered by what, who and when', async () => {
    const count = async (query: string) => (await read(query)).entries.length;
    expect(await count(`${callsOf('a')}&outcome=tool_error`)).toBe(1);
    expect(await count(`${callsOf('a')}&tool=echo`)).toBe(calls - 1);
    expect(await count('?namespace=elsewhere')).toBe(0);
    expect(await count(`${callsOf('a')}&tokenId=tok_none`)).toBe(0);
    const { entries } = await read(callsOf('a'));
    const [newest] = entries as [Entry];
    expect(await count(`${callsOf('a')}&keyId=${newest.principal.keyId}`)).toBe(calls);
    const since = encodeURIComponent(newest.time);
    const atOnce = entries.filter(({ time }) => time === newest.time).length;
    expect(await count(`${callsOf('a')}&since=${since}`)).toBe(atOnce);
    expect(await count(`${callsOf('a')}&until=${since}`)).toBe(calls - atOnce);
  });

  test.each([
    ['?limit=0', /limit/],
    ['?limit=101', /limit/],
    ['?cursor=x', /cursor/],
    ['?since=yesterday', /since/],
    ['?outcome=well', /outcome/],
    ['?tool=%00', /tool/],
    ['?organizationId=x', /organizationId/],
  ])('refuses %s', async (query, message) => {
    expect(await contract.request(`/audit${query}`)).toMatchObject({
      status: 400,
      body: { error: 'validation_error', message: expect.stringMatching(message) },
    });
  });
});

describe('GET /audit/export', () => {
  test('gives all that the filter finds as JSON lines', async () => {
    const answer = await contract.request(`/audit/export${callsOf('a')}`);
    expect(answer.headers.get('content-type')).toBe('application/jsonl; charset=utf-8');
    const lines = answer.text.trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toEqual((await read(callsOf('a'))).entries);
    expect((await contract.request('/audit/export?tool=none')).text).toBe('');
    expect((await contract.request('/audit/export?limit=1')).status).toBe(400);
  });

  test('is in the audit itself, as is each action on the organization', async () => {
    await until(async () => (await read('?method=audit/export')).entries.length > 0);
    const { connections, namespaces, tokens } = contract.sdk();
    await tokens.create();
    const { name } = await namespaces.create();
    const { connectionId } = await connections.create(name, { mcpUrl: 'http://127.0.0.1:1/mcp' });
    await connections.set(connectionId, { namespace: name, name: 'renamed' });
    await connections.delete(connectionId, { namespace: name });
    expect((await contract.request(`/${name}/none`, { method: 'DELETE' })).status).toBe(404);
    await namespaces.delete(name);
    const done = await until(async () => {
      const { entries } = await read(`?namespace=${name}`);
      return entries.length === 6 ? entries.reverse() : undefined;
    });
    expect(done.map(({ method, connectionId: id, outcome }) => [method, id, outcome])).toEqual([
      ['namespaces/create', null, 'ok'],
      ['connections/create', connectionId, 'ok'],
      ['connections/set', connectionId, 'ok'],
      ['connections/delete', connectionId, 'ok'],
      ['connections/delete', 'none', 'failed'],
      ['namespaces/delete', null, 'ok'],
    ]);
    expect((await read('?method=tokens/create')).entries).toHaveLength(1);
  });
});
