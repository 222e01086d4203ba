import { describe, expect, test } from 'vitest';
import { legacyServer, modernServer } from '../fixtures/upstream.ts';
import { useContract } from './harness.ts';
import { storeStatus, withSetupUrl } from './stored-status.ts';

const namespaceListMs = 400;
const contract = useContract({ limits: { namespaceListMs, healMinMs: 60_000, healMaxMs: 60_000 } });
const namespace = 'default';

test('GET /{namespace}/.tools of an empty namespace is an empty map', async () => {
  const { name } = await contract.sdk().namespaces.create();
  expect(await contract.request(`/${name}/.tools`)).toMatchObject({ status: 200, body: {} });
});

test('GET /{namespace}/.tools answers one envelope a connection, and no dead upstream fails the rest', async () => {
  const { connections } = contract.sdk();
  const live = await contract.upstream(legacyServer({ tools: [{ name: 'a' }, { name: 'b.c' }] }).handler);
  const modern = await contract.upstream(modernServer().handler);
  const dead = await contract.upstream(legacyServer().handler);
  const hanging = await contract.upstream(legacyServer().handler);
  const waiting = await contract.upstream(legacyServer().handler);
  for (const [id, { url }] of Object.entries({
    live,
    modern,
    dead,
    hanging,
    'waits/login': waiting,
    'waits-input': waiting,
  })) {
    await connections.set(id, { namespace, mcpUrl: url });
  }
  const login = { state: 'auth_required' };
  const input = {
    state: 'input_required',
    http: { headers: { 'X-Key': { label: 'Key' } } },
    missing: { headers: ['X-Key'], query: [] },
  };
  await storeStatus(contract, 'waits/login', login);
  await storeStatus(contract, 'waits-input', input);
  await dead.stop();
  hanging.handle(() => {});
  waiting.received.length = 0;

  const start = performance.now();
  const answer = await contract.request('/default/.tools');
  const tookMs = performance.now() - start;
  await hanging.stop();
  expect(answer.status).toBe(200);
  const envelopes = answer.body as Record<string, unknown>;
  expect(Object.keys(envelopes).sort()).toEqual(
    ['dead', 'hanging', 'live', 'modern', 'waits-input', 'waits/login'].sort(),
  );
  expect(envelopes).toMatchObject({
    live: { status: { state: 'connected' }, tools: [{ name: 'a' }, { name: 'b.c' }] },
    modern: { status: { state: 'connected' }, tools: [{ name: 'echo' }] },
    dead: {
      status: { state: 'error', message: 'connection refused' },
      error: { error: 'upstream_failed', message: 'connection refused' },
    },
    hanging: { error: { error: 'upstream_timeout' } },
    'waits/login': {
      status: withSetupUrl(contract, 'waits/login', login),
      error: { error: 'auth_required' },
    },
    'waits-input': {
      status: withSetupUrl(contract, 'waits-input', input),
      error: { error: 'input_required' },
    },
  });
  expect(waiting.received).toEqual([]);
  // The hanging one costs its own limit; generous, because the machine may be busy.
  expect(tookMs).toBeGreaterThanOrEqual(namespaceListMs * 0.9);
  expect(tookMs).toBeLessThan(namespaceListMs + 3_000);
});

test('a connection that never answered is asked again, within the same limit', async () => {
  const { name } = await contract.sdk().namespaces.create();
  const upstream = await contract.upstream((_request, response) => void response.writeHead(404).end());
  const { connections } = contract.sdk();
  await connections.set('revived', { namespace: name, mcpUrl: upstream.url });
  upstream.handle(legacyServer().handler);
  const answer = await contract.request(`/connect/${name}/.tools`);
  expect(answer.body).toMatchObject({
    revived: { status: { state: 'connected' }, tools: [{ name: 'echo' }] },
  });
});

describe('with more connections than are asked at once', () => {
  const few = useContract({ limits: { namespaceListConcurrency: 4 } });

  test('all have their envelope', async () => {
    const { name } = await few.sdk().namespaces.create();
    const upstream = await few.upstream(legacyServer().handler);
    const ids = Array.from({ length: 30 }, (_, i) => `c${i}`);
    await Promise.all(
      ids.map((id) => few.sdk().connections.set(id, { namespace: name, mcpUrl: upstream.url })),
    );
    const { body } = await few.request(`/${name}/.tools`);
    expect(Object.keys(body as object).sort()).toEqual(ids.sort());
    for (const envelope of Object.values(body as object)) expect(envelope).toHaveProperty('tools');
  });
});
