import { beforeAll, describe, expect, test } from 'vitest';
import { until } from '../fixtures/until.ts';
import { legacyServer, modernServer, RpcError } from '../fixtures/upstream.ts';
import { useContract } from './harness.ts';
import { editions } from './legacy-callers.ts';

const contract = useContract({
  limits: { auditFlushMs: 10, auditAnswerBytes: 40_000, auditDetailBytes: 4_000 },
});
const namespace = 'detailed';
const credential = 'sentinel-of-the-sealed-header';
const queryCredential = 'sentinel-of-the-query';

interface Entry {
  method: string;
  tool: string | null;
  outcome: string;
  detail: { asked: unknown; answered: unknown } | null;
}

const tools = [{ name: 'echo' }, { name: 'refuse' }, { name: 'large' }, { name: 'huge' }];
const call = (name: string) => {
  if (name === 'refuse') throw new RpcError(4711, `no, not with ${credential}`);
  const text = { large: 'x'.repeat(10_000), huge: 'x'.repeat(100_000) }[name];
  return { content: [{ type: 'text', text: text ?? `tu as envoyé ${credential} and ${queryCredential}` }] };
};
const servers = {
  legacy: () => legacyServer({ tools, call }),
  sessions: () => legacyServer({ sessions: true, tools, call }),
  events: () => legacyServer({ sse: true, tools, call }),
  modern: () => modernServer({ tools, call }),
};

const patch = (settings: object, at = namespace) =>
  contract.request(`/namespaces/${at}/settings`, { method: 'PATCH', json: settings });

beforeAll(async () => {
  await contract.request(`/namespaces/${namespace}`, { method: 'PUT', json: {} });
  expect((await patch({ auditDetail: true })).body).toMatchObject({ auditDetail: true });
  for (const [id, server] of Object.entries(servers)) {
    const upstream = await contract.upstream(server().handler);
    const mcpUrl = `${upstream.url}?key=${queryCredential}`;
    const headers = { authorization: `Bearer ${credential}` };
    for (const at of [namespace, 'default']) {
      await contract.sdk().connections.set(id, { namespace: at, mcpUrl, headers });
    }
  }
});

async function newest(filter: string, at = namespace): Promise<Entry> {
  return until(async () => {
    const { body } = await contract.request(`/audit?namespace=${at}&limit=1&${filter}`);
    return (body as { entries: Entry[] }).entries[0];
  });
}

const args = { city: 'Orléans 𝄞', password: 'sentinel-password', note: 'Bearer abcdefgh12345678' };
const asked = {
  name: 'echo',
  arguments: { city: 'Orléans 𝄞', password: '[redacted]', note: '[redacted]' },
};
const answered = { content: [{ type: 'text', text: 'tu as envoyé [redacted] and [redacted]' }] };
const callOf = (name: string, id = 'legacy') =>
  contract.request(`/connect/${namespace}/${id}/mcp`, {
    method: 'POST',
    json: { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args } },
  });

describe('what calls say is kept, without secrets, where the namespace asks for it', () => {
  test.each(Object.keys(servers))('on the MCP endpoint of a server that is %s', async (id) => {
    const answer = await callOf('echo', id);
    expect(answer.text).toContain(credential);
    const { detail } = await newest(`connectionId=${id}&method=tools/call`);
    expect(detail).toMatchObject({ asked, answered });
  });

  test.each(editions)('for a caller in a session: $edition', async ({ connectCaller }) => {
    for (const id of ['sessions', 'modern']) {
      const caller = await connectCaller(`${contract.url}/connect/${namespace}/${id}/mcp`, contract.pb.key);
      await caller.call('echo', { ...args, edition: id });
      const { detail } = await until(async () => {
        const entry = await newest(`connectionId=${id}&method=tools/call`);
        return JSON.stringify(entry.detail).includes('"edition"') ? entry : undefined;
      });
      expect(detail).toMatchObject({ asked: { name: 'echo' }, answered });
      await caller.close();
    }
  });

  test('over REST', async () => {
    await contract.request(`/connect/${namespace}/events/.tools/echo`, { method: 'POST', json: args });
    const { detail } = await until(async () => {
      const entry = await newest('connectionId=events&method=tools/call');
      return entry.detail?.asked ? entry : undefined;
    });
    expect(detail).toMatchObject({ asked, answered });
  });

  test('on the endpoint of the namespace', async () => {
    const json = {
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name: 'legacy.echo', arguments: args },
    };
    await contract.request(`/mcp/${namespace}`, { method: 'POST', json });
    const { detail } = await until(async () => {
      const entry = await newest('connectionId=legacy&method=tools/call');
      return JSON.stringify(entry.detail).includes('legacy.echo') ? entry : undefined;
    });
    expect(detail).toMatchObject({ asked: { ...asked, name: 'legacy.echo' }, answered });
  });

  test('of an error too, and only as much as is of use', async () => {
    await callOf('refuse');
    const refused = await newest('tool=refuse');
    expect(refused.detail).toMatchObject({
      answered: { error: { code: 4711, message: 'no, not with [redacted]' } },
    });
    for (const name of ['large', 'huge']) {
      await callOf(name);
      const { detail } = await newest(`tool=${name}`);
      expect(detail?.answered).toEqual({ omitted: expect.any(String), bytes: expect.any(Number) });
    }
  });

  test('and nothing of it where it does not, or not any more, nor of other requests', async () => {
    const json = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: args } };
    await contract.request('/connect/default/legacy/mcp', { method: 'POST', json });
    expect((await newest('method=tools/call', 'default')).detail).toBeNull();
    await contract.request(`/connect/${namespace}/legacy/mcp`, {
      method: 'POST',
      json: { jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} },
    });
    expect((await newest('method=tools/list')).detail).toBeNull();
    expect((await newest('method=settings/set')).detail).toBeNull();
    await patch({ auditDetail: false });
    await callOf('echo', 'modern');
    await until(async () =>
      (await newest('connectionId=modern&method=tools/call')).detail === null ? true : undefined,
    );
    await patch({ auditDetail: true });
  });

  test('no row has a sentinel', async () => {
    const rows = await contract.pb.store.db.selectFrom('audit').selectAll().execute();
    const text = JSON.stringify(rows);
    expect(rows.filter(({ detail }) => detail !== null).length).toBeGreaterThan(8);
    for (const sentinel of [credential, queryCredential, 'sentinel-password', contract.pb.key]) {
      expect(text).not.toContain(sentinel);
    }
  });
});
