import { describe, expect, test } from 'vitest';
import { until } from '../fixtures/until.ts';
import { legacyServer } from '../fixtures/upstream.ts';
import { type RequestOptions, useContract } from './harness.ts';

/** Namespaces of one test each: what is remembered, listed late, or not asked at all. */
const contract = useContract({ limits: { namespaceEndpointMs: 400, healMinMs: 60_000, healMaxMs: 60_000 } });
const unavailableKey = 'patchbay/unavailable';

const post = (json: unknown, options: RequestOptions, to: string) =>
  contract.request(`/mcp/${to}`, { method: 'POST', json, ...options });
const rpc = (method: string, params?: unknown) => ({ jsonrpc: '2.0', id: 7, method, params });

interface Listed {
  result: { tools: Record<string, unknown>[]; _meta: Record<string, Record<string, unknown>[]> };
}

async function list(to: string): Promise<Listed['result']> {
  const answer = await post(rpc('tools/list'), {}, to);
  expect(answer.status).toBe(200);
  return (answer.body as Listed).result;
}

describe('tools/list', () => {
  test('shows what a slow upstream listed before, and names it all the same', async () => {
    const { name } = await contract.sdk().namespaces.create();
    const slow = await contract.upstream(legacyServer().handler);
    await contract.sdk().connections.set('slow', { namespace: name, mcpUrl: slow.url });
    const first = await list(name);
    expect(first._meta).toBeUndefined();
    slow.handle(() => {});
    const second = await list(name);
    await slow.stop();
    expect(second.tools).toEqual(first.tools);
    expect(second._meta[unavailableKey]).toMatchObject([{ connectionId: 'slow', error: 'upstream_timeout' }]);
  });

  test('shows what came too late for the last list', async () => {
    const { name } = await contract.sdk().namespaces.create();
    const { handler } = legacyServer();
    const slow = await contract.upstream(handler);
    await contract.sdk().connections.set('slow', { namespace: name, mcpUrl: slow.url });
    const answers: (() => unknown)[] = [];
    slow.handle((request, response) => void answers.push(() => handler(request, response)));
    expect((await list(name)).tools).toEqual([]);
    for (const give of answers) give();
    // Still slow, so what the next list shows is what is remembered.
    await until(async () => (await list(name)).tools.length === 1);
    await slow.stop();
  });

  test('goes on, and calls too, where the credentials of one connection do not open', async () => {
    const { name } = await contract.sdk().namespaces.create();
    const { connections } = contract.sdk();
    const { url: mcpUrl } = await contract.upstream(legacyServer().handler);
    await connections.set('broken', { namespace: name, mcpUrl, headers: { 'x-key': 'sealed' } });
    await connections.set('a.b', { namespace: name, mcpUrl });
    await contract.pb.store.db
      .updateTable('connections')
      .set({ sealed_headers: 'not what was sealed' })
      .where('namespace', '=', name)
      .where('id', '=', 'broken')
      .execute();
    const { tools, _meta } = await list(name);
    expect(tools).toHaveLength(1);
    expect(_meta[unavailableKey]).toMatchObject([{ connectionId: 'broken', error: 'internal_error' }]);
    const answer = await post(rpc('tools/call', { name: tools[0]?.name }), {}, name);
    expect(answer).toMatchObject({ status: 200, body: { result: { content: [{ text: '{}' }] } } });
  });

  test('is empty in an empty namespace', async () => {
    const { name } = await contract.sdk().namespaces.create();
    expect(await list(name)).toEqual({ tools: [] });
  });

  test('ends where a connection leads back to its own namespace', async () => {
    const { name } = await contract.sdk().namespaces.create();
    const { connections } = contract.sdk();
    const mcpUrl = `${contract.url}/mcp/${name}`;
    const headers = { authorization: `Bearer ${contract.pb.key}` };
    await connections.set('loop', { namespace: name, mcpUrl, headers });
    const upstream = await contract.upstream(legacyServer().handler);
    await connections.set('real', { namespace: name, mcpUrl: upstream.url });
    upstream.received.length = 0;
    const { tools } = await list(name);
    expect(tools.map((tool) => tool.name)).toEqual(
      expect.arrayContaining(['loop.loop.real.echo', 'loop.real.echo', 'real.echo']),
    );
    const lists = upstream.received.filter(({ message }) => message?.method === 'tools/list');
    expect(lists.length).toBeLessThanOrEqual(3);
  });
});

describe('tools/call', () => {
  test('needs no list before, and asks only the connection that the name names', async () => {
    const { name } = await contract.sdk().namespaces.create();
    const { connections } = contract.sdk();
    const upstreams = await Promise.all(['one', 'two'].map(() => contract.upstream(legacyServer().handler)));
    for (const [index, id] of ['one', 'two'].entries()) {
      await connections.set(id, { namespace: name, mcpUrl: upstreams[index]?.url as string });
    }
    for (const { received } of upstreams) received.length = 0;
    const answer = await post(rpc('tools/call', { name: 'one.echo', arguments: {} }), {}, name);
    expect(answer).toMatchObject({ status: 200, body: { result: { content: [{ text: '{}' }] } } });
    expect(upstreams[1]?.received).toEqual([]);
  });

  test('finds a tool under its alias though nothing was listed', async () => {
    const upstream = await contract.upstream(
      legacyServer({
        call: (name, args) => ({
          content: [{ type: 'text', text: `dotted:${name}:${JSON.stringify(args)}` }],
        }),
      }).handler,
    );
    const { name } = await contract.sdk().namespaces.create();
    const { connections } = contract.sdk();
    await connections.set('a.b', { namespace: name, mcpUrl: upstream.url });
    const [tool] = (await list(name)).tools;
    await connections.delete('a.b', { namespace: name });
    await connections.set('a.b', { namespace: name, mcpUrl: upstream.url });
    const answer = await post(rpc('tools/call', { name: tool?.name }), {}, name);
    expect(answer).toMatchObject({
      status: 200,
      body: { result: { content: [{ text: 'dotted:echo:{}' }] } },
    });
  });

  test('is cancelled upstream when the caller goes away', async () => {
    const { handler } = legacyServer({ sessions: true });
    const upstream = await contract.upstream((request, response) =>
      request.message?.method === 'tools/call' ? undefined : handler(request, response),
    );
    const { name } = await contract.sdk().namespaces.create();
    await contract.sdk().connections.set('stuck', { namespace: name, mcpUrl: upstream.url });
    const methods = () => upstream.received.map(({ message }) => message?.method);
    const caller = new AbortController();
    const json = rpc('tools/call', { name: 'stuck.echo' });
    const gone = post(json, { signal: caller.signal }, name);
    await until(() => methods().includes('tools/call'));
    caller.abort();
    await expect(gone).rejects.toThrow(/abort/);
    await until(() => methods().includes('notifications/cancelled'));
  });
});
