import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Answer, read } from '../fixtures/fault.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';
import {
  type LegacyOptions,
  legacyServer,
  modernServer,
  startUpstream,
  type Upstream,
} from '../fixtures/upstream.ts';

// Equal JSON-RPC ids of different callers never mix (pains 24): many tenants at once, slow answers in any order.

const tenants = 200;
const modern = '2026-07-28';
const meta = 'io.modelcontextprotocol/';

interface Tenant {
  namespace: string;
  key: string;
  /** Each has a connection to an upstream of one era. */
  era: 'legacy' | 'modern';
}

let pb: TestPatchbay;
let upstreams: Record<Tenant['era'], Upstream>;
let held: (() => void)[] = [];

/** Says whose credentials came with the call, once the test lets it. */
const call: LegacyOptions['call'] = async (_name, args, { headers }) => {
  await new Promise<void>((resolve) => held.push(resolve));
  return { content: [{ type: 'text', text: JSON.stringify({ tenant: headers['x-tenant'], ...args }) }] };
};

beforeAll(async () => {
  pb = await startPatchbay();
  upstreams = {
    legacy: await startUpstream(legacyServer({ sessions: true, sse: true, call }).handler),
    modern: await startUpstream(modernServer({ call }).handler),
  };
});
afterAll(async () => {
  await pb?.stop();
  for (const upstream of Object.values(upstreams ?? {})) await upstream.stop();
});

async function makeTenant(index: number): Promise<Tenant> {
  const namespace = `tenant-${index}`;
  const { key } = await pb.store.otherOrganization(namespace);
  const era = index % 2 === 0 ? 'legacy' : 'modern';
  const { status } = await pb.request(`/connect/${namespace}/same`, {
    method: 'PUT',
    key,
    json: { mcpUrl: upstreams[era].url, headers: { 'x-tenant': namespace } },
  });
  expect(status).toBe(201);
  return { namespace, key, era };
}

/** Calls the tool as a client of `era` does, under an id that every caller uses. */
async function echo({ namespace, key }: Tenant, era: Tenant['era'], nonce: string): Promise<Answer> {
  const envelope =
    era === 'legacy'
      ? {}
      : { _meta: { [`${meta}protocolVersion`]: modern, [`${meta}clientCapabilities`]: {} } };
  const headers: Record<string, string> =
    era === 'legacy'
      ? { 'mcp-session-id': 'smithery-stateless' }
      : { 'mcp-protocol-version': modern, 'mcp-method': 'tools/call', 'mcp-name': 'echo' };
  return read(
    await pb.request(`/mcp/${namespace}/same`, {
      method: 'POST',
      key,
      json: {
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: { name: 'echo', arguments: { nonce }, ...envelope },
      },
      headers: { accept: 'application/json, text/event-stream', ...headers },
    }),
  );
}

/** The JSON-RPC answer, from a document or from events. */
function answerOf({ json, text }: Answer): unknown {
  const data = /^data: (.*)$/m.exec(text)?.[1];
  return data === undefined ? json : JSON.parse(data);
}

/** Lets all calls under way go on, in an order that has nothing to do with the one they came in. */
async function release(count: number): Promise<void> {
  await until(() => held.length === count, 60_000);
  const waiting = held;
  held = [];
  for (let at = waiting.length - 1; at > 0; at--) {
    const other = Math.floor(Math.random() * (at + 1));
    [waiting[at], waiting[other]] = [waiting[other] as () => void, waiting[at] as () => void];
  }
  for (const go of waiting) go();
}

test('no answer reaches another caller: 200 tenants, equal ids, callers and servers of both eras', async () => {
  const all: Tenant[] = [];
  for (let index = 0; index < tenants; index += 20) {
    const some = Array.from({ length: 20 }, (_, offset) => makeTenant(index + offset));
    all.push(...(await Promise.all(some)));
  }
  const eras = ['legacy', 'modern'] as const;
  const calls = all.flatMap((tenant) =>
    eras.map(async (era) => {
      const nonce = `${tenant.namespace}-${era}-${Math.random()}`;
      const answer = await echo(tenant, era, nonce);
      expect(answerOf(answer), answer.text).toMatchObject({
        id: 1,
        result: { content: [{ text: JSON.stringify({ tenant: tenant.namespace, nonce }) }] },
      });
    }),
  );
  await release(calls.length);
  await Promise.all(calls);
}, 120_000);

test.each(['legacy', 'modern'] as const)(
  'no answer reaches another caller of one connection to a %s server',
  async (era) => {
    const tenant = await makeTenant(era === 'legacy' ? 1000 : 1001);
    const calls = Array.from({ length: 200 }, async (_, index) => {
      const nonce = `n-${index}`;
      const answer = await echo(tenant, index % 4 < 2 ? 'legacy' : 'modern', nonce);
      expect(answerOf(answer), answer.text).toMatchObject({
        id: 1,
        result: { content: [{ text: JSON.stringify({ tenant: tenant.namespace, nonce }) }] },
      });
    });
    await release(calls.length);
    await Promise.all(calls);
  },
  60_000,
);
