import { beforeEach, describe, expect, test } from 'vitest';
import { testsOnPostgres } from '../../../test/fixtures/database.ts';
import { exampleConnection, setUpWebhooks, type WebhookRig } from '../../../test/fixtures/webhooks.ts';
import { announce } from './announce.ts';
import { deleteWebhook } from './webhook.ts';

let rig: WebhookRig;
beforeEach(async () => {
  rig = await setUpWebhooks();
  return rig.stop;
});

describe('announce', () => {
  test('queues the event for each webhook that wants it, under one id and with one body', async () => {
    const both = await rig.register();
    const recoveries = await rig.register(undefined, ['connection.recovered']);
    await rig.register(undefined, ['connection.auth_required']);
    expect(await rig.announce('connection.recovered')).toBe(true);
    const queue = await rig.queue();
    expect(queue.map(({ webhook_id }) => webhook_id).sort()).toEqual([both.id, recoveries.id].sort());
    expect(new Set(queue.map(({ id }) => id)).size).toBe(1);
    // A full stop would let an id reach into the signed text (Standard Webhooks 1.0.0, signature scheme).
    expect(queue[0]?.id).toMatch(/^msg_[\w-]{20,}$/);
    for (const { body } of queue) {
      expect(JSON.parse(body)).toEqual({
        type: 'connection.recovered',
        timestamp: new Date(rig.clock.now()).toISOString(),
        data: {
          namespace: 'default',
          connectionId: 'github-1',
          name: 'GitHub',
          metadata: { userId: 'user123' },
          status: { state: 'connected' },
        },
      });
    }
  });

  test('tells the state alone: whatever else a status has, a ticket for example, stays here', async () => {
    await rig.register();
    const status = { state: 'auth_required' as const, setupUrl: 'https://a.example/setup?ticket=secret' };
    await rig.announce('connection.auth_required', { status, metadata: null });
    const [queued] = await rig.queue();
    expect(JSON.parse(queued?.body ?? '')).toMatchObject({
      data: { metadata: null, status: { state: 'auth_required' } },
    });
    expect(queued?.body).not.toContain('ticket');
  });

  test('gives each event an id of its own', async () => {
    await rig.register();
    await rig.announce();
    await rig.announce();
    expect(new Set((await rig.queue()).map(({ id }) => id)).size).toBe(2);
  });

  test('queues nothing where nobody wants it, and says so', async () => {
    expect(await rig.announce()).toBe(false);
    await rig.register(undefined, ['connection.auth_required']);
    expect(await rig.announce('connection.recovered')).toBe(false);
    expect(await rig.announce('connection.auth_required', { namespace: 'elsewhere' })).toBe(false);
    expect(await rig.queue()).toEqual([]);
  });

  test('belongs to the change: one that is rolled back announces nothing', async () => {
    await rig.register();
    const { deps } = rig;
    const failing = deps.store.write(async (transaction) => {
      expect(await announce(deps, transaction, 'connection.recovered', exampleConnection)).toBe(true);
      throw new Error('the change failed');
    });
    await expect(failing).rejects.toThrow('the change failed');
    expect(await rig.queue()).toEqual([]);
  });
});

describe.runIf(testsOnPostgres)('a webhook that is deleted while an event is announced', () => {
  /** A promise and what resolves it. */
  const gate = () => Promise.withResolvers<void>();

  test('does not fail the change: the deletion came first', async () => {
    const { id } = await rig.register();
    const { store } = rig.deps;
    const [deleted, mayCommit] = [gate(), gate()];
    const deletion = store.write(async (transaction) => {
      await transaction.deleteFrom('webhooks').where('id', '=', id).execute();
      deleted.resolve();
      await mayCommit.promise;
    });
    await deleted.promise;
    const announced = rig.announce();
    // Committed once the other transaction waits for it, or has read past it.
    await rig.until(async () => (await lockWaits()) > 0);
    mayCommit.resolve();
    await deletion;
    expect(await announced).toBe(false);
    expect(await rig.queue()).toEqual([]);
  });

  test('takes the event along: the announcement came first', async () => {
    const { id } = await rig.register();
    const { deps } = rig;
    const [announced, mayCommit] = [gate(), gate()];
    const change = deps.store.write(async (transaction) => {
      await announce(deps, transaction, 'connection.recovered', exampleConnection);
      announced.resolve();
      await mayCommit.promise;
    });
    await announced.promise;
    const deletion = deleteWebhook(deps.store, 'default', id);
    await rig.until(async () => (await lockWaits()) > 0);
    mayCommit.resolve();
    await Promise.all([change, deletion]);
    expect(await rig.queue()).toEqual([]);
  });

  /** How many transactions of this database wait for another one. */
  async function lockWaits(): Promise<number> {
    const { sql } = await import('kysely');
    const { rows } = await sql<{ count: number }>`
      select count(*) as count from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`.execute(rig.deps.store.db);
    return Number(rows[0]?.count);
  }
});
