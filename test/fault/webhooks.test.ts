import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Webhook as Verifier } from 'standardwebhooks';
import { beforeEach, describe, expect, test } from 'vitest';
import { announce } from '../../src/connections/webhooks/announce.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { createTestDatabase, testsOnPostgres } from '../fixtures/database.ts';
import { type Rig, setUpRig } from '../fixtures/fault.ts';
import type { TestPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';
import { type Handler, startUpstream, type Upstream } from '../fixtures/upstream.ts';
import { exampleConnection, verified } from '../fixtures/webhooks.ts';

const limits = { webhookSweepMs: 50, webhookRetryMinMs: 50, webhookRetryMaxMs: 50 };
const answering =
  (status: number): Handler =>
  (_request, response) =>
    void response.writeHead(status).end();

let rig: Rig;
let receiver: Upstream;
beforeEach(async () => {
  rig = await setUpRig();
  receiver = await startUpstream(answering(204), '/hook');
  return async () => {
    await rig.stop();
    await receiver.stop();
  };
});

async function register(pb: TestPatchbay, url: string): Promise<{ id: string; secret: string }> {
  const response = await pb.request('/namespaces/default/webhooks', { method: 'POST', json: { url } });
  expect(response.status).toBe(201);
  return response.json() as Promise<{ id: string; secret: string }>;
}

/** Queues an event beside the server, which finds it at its next sweep. */
async function queue({ store }: TestPatchbay): Promise<void> {
  const deps = { clock: systemClock, store: { kind: testsOnPostgres ? 'postgres' : 'sqlite' } as const };
  await store.db
    .transaction()
    .execute((transaction) => announce(deps, transaction, 'connection.recovered', exampleConnection));
}

function waiting({ store }: TestPatchbay) {
  return store.db.selectFrom('webhook_deliveries').select(['id', 'attempt']).execute();
}

test('an event that another process queued is delivered, signed with the secret that was shown', async () => {
  const pb = await rig.start({ limits });
  const { secret } = await register(pb, receiver.url);
  await queue(pb);
  await until(async () => (await waiting(pb)).length === 0);
  expect(receiver.received).toHaveLength(1);
  const { event } = verified(new Verifier(secret), receiver.received[0] as Upstream['received'][number]);
  expect(event).toMatchObject({ type: 'connection.recovered', data: { connectionId: 'github-1' } });
});

test('an event outlives a restart of the server, and is delivered under the same id', async () => {
  const pb = await rig.start({ limits });
  await register(pb, receiver.url);
  receiver.handle(answering(503));
  await queue(pb);
  await until(() => receiver.received.length > 0);
  const [queued] = await waiting(pb);
  await pb.restart();
  receiver.handle(answering(204));
  await until(async () => (await waiting(pb)).length === 0);
  const ids = new Set(receiver.received.map(({ headers }) => headers['webhook-id']));
  expect([...ids]).toEqual([queued?.id]);
});

describe('the guard', () => {
  test.each([
    { host: '127.0.0.1', allowed: 'false' },
    { host: '[::ffff:127.0.0.1]', allowed: 'false' },
    { host: 'localhost', allowed: 'false' },
    { host: '169.254.169.254', allowed: 'true' },
    { host: '[fd00:ec2::254]', allowed: 'true' },
  ])('refuses $host with private upstreams set to $allowed', async ({ host, allowed }) => {
    const pb = await rig.start({ limits, env: { PATCHBAY_ALLOW_PRIVATE_UPSTREAMS: allowed } });
    await register(pb, `http://${host}:${receiver.port}/hook?token=sentinel`);
    await queue(pb);
    await until(async () => (await waiting(pb)).some(({ attempt }) => attempt > 1));
    expect(receiver.received).toEqual([]);
    expect(pb.logs.join('')).toMatch(/"reason":"refused: /);
    expect(pb.logs.join('')).not.toContain('sentinel');
  });

  test('refuses where a redirect leads, because none is followed', async () => {
    const inside = await startUpstream(answering(204), '/inside');
    try {
      receiver.handle((_request, response) => void response.writeHead(308, { location: inside.url }).end());
      const pb = await rig.start({ limits });
      await register(pb, receiver.url);
      await queue(pb);
      await until(async () => (await waiting(pb)).some(({ attempt }) => attempt > 1));
      expect(inside.received).toEqual([]);
    } finally {
      await inside.stop();
    }
  });
});

describe.runIf(testsOnPostgres)('two processes on one PostgreSQL', () => {
  test('deliver each event once', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'patchbay-shared-'));
    const database = await createTestDatabase(dataDir);
    try {
      const one = await rig.start({ database, limits });
      await rig.start({ database, limits });
      await register(one, receiver.url);
      for (let n = 0; n < 100; n++) await queue(one);
      await until(async () => (await waiting(one)).length === 0, 30_000);
      const ids = receiver.received.map(({ headers }) => headers['webhook-id']);
      expect(new Set(ids).size).toBe(100);
      expect(ids).toHaveLength(100);
    } finally {
      await rig.stopInstances();
      await database.drop();
      await rm(dataDir, { recursive: true, force: true });
    }
  });
});
