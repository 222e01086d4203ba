import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type AuditRig, entryAt, setUpAudit } from '../../test/fixtures/audit.ts';
import { until } from '../../test/fixtures/until.ts';
import { defaultLimits } from '../platform/limits.ts';
import type { AuditRow } from '../platform/store/schema.ts';
import { AuditEntry } from './entry.ts';
import { type AuditLog, createAuditLog } from './log.ts';

let rig: AuditRig;
let audit: AuditLog;
beforeEach(async () => {
  rig = await setUpAudit({ auditFlushRows: 60, auditQueueRows: 100 });
  audit = createAuditLog(rig.deps);
});
afterEach(async () => {
  await audit.close();
  await rig.stop();
});

/** The rows, once there are `count`. */
function untilRows(count: number): Promise<AuditRow[]> {
  return until(async () => {
    const rows = await rig.rows();
    return rows.length === count ? rows : undefined;
  });
}

/** Lets the time of one flush pass, and waits until `count` rows are there. */
function flushed(count: number): Promise<AuditRow[]> {
  rig.clock.step(rig.deps.limits.auditFlushMs);
  return untilRows(count);
}

const record = (count: number, tool?: string) => {
  for (let i = 0; i < count; i++) audit.record(entryAt(rig.clock.now() + i, 'org', tool));
};

describe('an entry', () => {
  test('is a row within the documented second, with all that was noted', async () => {
    expect(defaultLimits.auditFlushMs).toBeLessThan(1_000);
    const actor = { organizationId: 'org_1', kind: 'api_key', keyId: 'key_1', tokenId: null, userId: null };
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const entry = new AuditEntry(actor, 1_800_000_000_123, 'default', 'POST', traceparent);
    entry.carries('tools/call', { name: 'weather', arguments: { city: 'Lisbon' } });
    entry.connectionId = 'github-1';
    entry.connectionUid = 'con_1';
    entry.answeredError(-32602);
    entry.status = 200;
    entry.durationMs = 12;
    entry.bytesIn = 340;
    entry.bytesOut = 5_000_000_000;
    audit.record(entry);
    expect(await flushed(1)).toEqual([
      {
        id: expect.stringMatching(/^aud_\w+$/),
        time: 1_800_000_000_123,
        organization_id: 'org_1',
        namespace: 'default',
        connection_uid: 'con_1',
        connection_id: 'github-1',
        principal_kind: 'api_key',
        key_id: 'key_1',
        token_id: null,
        user_id: null,
        method: 'tools/call',
        tool: 'weather',
        outcome: 'rpc_error',
        code: '-32602',
        status: 200,
        duration_ms: 12,
        bytes_in: 340,
        bytes_out: 5_000_000_000,
        trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
        detail: null,
      },
    ]);
  });

  test('waits in memory until then, and what is noted after its end does not count', async () => {
    const entry = entryAt(1);
    audit.record(entry);
    entry.failed('internal_error');
    rig.clock.step(rig.deps.limits.auditFlushMs - 1);
    expect(await rig.rows()).toEqual([]);
    rig.clock.step(1);
    const [row] = await untilRows(1);
    expect(row).toMatchObject({ outcome: 'ok', code: null });
  });

  test('has names that both databases take, however long and odd they are', async () => {
    const entry = entryAt(1, 'org', `a\0b${'x'.repeat(1_000)}`);
    entry.connectionId = '\0';
    entry.method = '\ud800 alone';
    audit.record(entry);
    const [row] = await flushed(1);
    expect(row?.tool).toBe(`a\ufffdb${'x'.repeat(253)}`);
    expect(row?.connection_id).toBe('\ufffd');
    expect(row?.method).toBe('\ufffd alone');
  });
});

describe('many entries', () => {
  test('go in one transaction, whatever their number, each once and in their order', async () => {
    await audit.close();
    rig.deps.limits = defaultLimits;
    audit = createAuditLog(rig.deps);
    const { write } = rig.deps.store;
    let transactions = 0;
    rig.deps.store.write = (work) => {
      transactions++;
      return write(work);
    };
    for (let i = 0; i < 1_477; i++) audit.record(entryAt(1_000, 'org', `tool-${i}`));
    const rows = await flushed(1_477);
    expect(rows.map(({ tool }) => tool)).toEqual(Array.from({ length: 1_477 }, (_, i) => `tool-${i}`));
    expect(transactions).toBe(1);
  });

  test('are written before their time when enough wait', async () => {
    record(59);
    rig.clock.step(0);
    expect(await rig.rows()).toEqual([]);
    record(1);
    rig.clock.step(0);
    await untilRows(60);
  });

  test('beyond the queue are dropped, counted and logged; later ones are taken again', async () => {
    const { write } = rig.deps.store;
    const { promise: stuck, resolve: release } = Promise.withResolvers<void>();
    rig.deps.store.write = async (work) => {
      await stuck;
      return write(work);
    };
    record(60, 'first');
    rig.clock.step(0);
    // Those being written still count.
    record(47, 'second');
    release();
    await untilRows(60);
    await until(() => rig.logs.find(({ dropped }) => dropped === 7));
    expect((await flushed(100)).map(({ tool }) => tool)).toEqual([
      ...Array(60).fill('first'),
      ...Array(40).fill('second'),
    ]);
    record(1, 'third');
    expect((await flushed(101)).at(-1)).toMatchObject({ tool: 'third' });
    expect(rig.logs.filter(({ dropped }) => dropped !== undefined)).toHaveLength(1);
  });
});

describe('a store that fails', () => {
  test('keeps nothing from being written once, when it works again', async () => {
    const { schema } = rig.deps.store.db;
    await schema.alterTable('audit').renameTo('audit_gone').execute();
    record(3, 'early');
    rig.clock.step(rig.deps.limits.auditFlushMs);
    await until(() => rig.logs.find(({ waiting }) => waiting === 3));
    await schema.alterTable('audit_gone').renameTo('audit').execute();
    record(2, 'late');
    rig.clock.step(rig.deps.limits.auditRetryMaxMs);
    const rows = await untilRows(5);
    expect(rows.map(({ tool }) => tool)).toEqual(['early', 'early', 'early', 'late', 'late']);
  });

  test('after the commit does not have rows written twice', async () => {
    const { write } = rig.deps.store;
    let failures = 0;
    rig.deps.store.write = async (work) => {
      const result = await write(work);
      if (failures++ === 0) throw new Error('the line broke before the answer');
      return result;
    };
    record(25);
    rig.clock.step(rig.deps.limits.auditFlushMs);
    await until(() => rig.logs.find(({ waiting }) => waiting === 25));
    record(1);
    rig.clock.step(rig.deps.limits.auditRetryMaxMs);
    await until(() => failures === 2);
    await audit.close();
    expect(await rig.rows()).toHaveLength(26);
  });

  test('does not hold up the end, and what is lost is in the log', async () => {
    const { schema } = rig.deps.store.db;
    await schema.alterTable('audit').renameTo('audit_gone').execute();
    record(4);
    await audit.close();
    expect(rig.logs.at(-1)).toMatchObject({ lost: 4 });
    await schema.alterTable('audit_gone').renameTo('audit').execute();
  });
});

test('close writes what waits, also what came while a flush was under way', async () => {
  record(5);
  rig.clock.step(rig.deps.limits.auditFlushMs);
  record(3);
  await audit.close();
  expect(await rig.rows()).toHaveLength(8);
});

test('two processes on one database write beside each other', async () => {
  const other = createAuditLog(rig.deps);
  record(30, 'one');
  for (let i = 0; i < 30; i++) other.record(entryAt(rig.clock.now() + i, 'org', 'two'));
  await Promise.all([audit.close(), other.close()]);
  const tools = (await rig.rows()).map(({ tool }) => tool);
  expect(tools.filter((tool) => tool === 'one')).toHaveLength(30);
  expect(tools.filter((tool) => tool === 'two')).toHaveLength(30);
});
