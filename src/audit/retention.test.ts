import { afterEach, beforeEach, expect, test } from 'vitest';
import { type AuditRig, entryAt, setUpAudit } from '../../test/fixtures/audit.ts';
import { until } from '../../test/fixtures/until.ts';
import { createAuditLog } from './log.ts';
import { type AuditRetention, createAuditRetention } from './retention.ts';

const auditKeepMs = 10_000;
let rig: AuditRig;
let stop: AbortController;
let retention: AuditRetention;
beforeEach(async () => {
  rig = await setUpAudit({ auditKeepMs, auditSweepRows: 10 });
  stop = new AbortController();
  retention = createAuditRetention({ ...rig.deps, stopping: stop.signal });
});
afterEach(async () => {
  stop.abort();
  await retention.settled();
  await rig.stop();
});

/** Rows of an organization: `ages` in milliseconds. */
async function write(organization: string, ages: readonly number[]): Promise<void> {
  const audit = createAuditLog(rig.deps);
  for (const age of ages) audit.record(entryAt(rig.clock.now() - age, organization));
  await audit.close();
}

test('what is older than it is kept goes, of every organization, and nothing else', async () => {
  const old = Array.from({ length: 35 }, (_, i) => auditKeepMs + 1 + i);
  await write('b', [...old, auditKeepMs - rig.deps.limits.auditSweepMs, 0]);
  await write('a', [auditKeepMs * 3]);
  await write('c', [-rig.deps.limits.auditSweepMs]);
  rig.clock.step(rig.deps.limits.auditSweepMs);
  await until(async () => (await rig.rows()).length === 2);
  const left = (await rig.rows()).map(({ organization_id, time }) => [
    organization_id,
    rig.clock.now() - time,
  ]);
  // Exactly as old as it may be, and new.
  expect(Object.fromEntries(left)).toEqual({ b: auditKeepMs, c: 0 });
});

test('few rows go at once, so that callers get to the store in between', async () => {
  await write(
    'a',
    Array.from({ length: 95 }, (_, i) => auditKeepMs + 1 + i),
  );
  const { write: run } = rig.deps.store;
  const deletions: number[] = [];
  let before = 95;
  rig.deps.store.write = async (work) => {
    const result = await run(work);
    const left = (await rig.rows()).length;
    deletions.push(before - left);
    before = left;
    return result;
  };
  rig.clock.step(rig.deps.limits.auditSweepMs);
  await until(() => before === 0);
  expect(deletions.every((count) => count <= 10)).toBe(true);
  expect(deletions.length).toBeGreaterThanOrEqual(10);
});

test('rows of one millisecond do not hold it up', async () => {
  await write('a', Array(35).fill(auditKeepMs + 1));
  rig.clock.step(rig.deps.limits.auditSweepMs);
  await until(async () => (await rig.rows()).length === 0);
});

test('it looks again and again, also after a fault of the store', async () => {
  const { schema } = rig.deps.store.db;
  await schema.alterTable('audit').renameTo('audit_gone').execute();
  rig.clock.step(rig.deps.limits.auditSweepMs);
  await until(() => rig.logs.find(({ msg }) => msg === 'old entries of the audit could not be deleted'));
  await schema.alterTable('audit_gone').renameTo('audit').execute();
  await write('a', [auditKeepMs + 1]);
  await until(async () => {
    if (rig.clock.isAtRest()) rig.clock.step(rig.deps.limits.auditSweepMs);
    return (await rig.rows()).length === 0;
  });
});
