import type { AuditDeps } from './log.ts';

/** Deletes what the audit has kept for long enough. */
export interface AuditRetention {
  /** Waits for a deletion under way; call it once `stopping` is aborted. */
  settled(): Promise<void>;
}

/**
 * Builds the retention of this process, which looks every `auditSweepMs` until `stopping` is aborted. It deletes few
 * rows at a time, so that no caller waits long for the store. Processes that share a database may all do it: a row
 * that one has deleted the others do not find. Faults are logged, not thrown.
 */
export function createAuditRetention(deps: AuditDeps & { stopping: AbortSignal }): AuditRetention {
  const { store, clock, limits, log, stopping } = deps;
  let cancelTimer = () => {};
  let sweeping = Promise.resolve();

  function schedule(): void {
    if (stopping.aborted) return;
    cancelTimer = clock.after(limits.auditSweepMs, () => {
      sweeping = sweep()
        .catch((error: unknown) => log.error({ err: error }, 'old entries of the audit could not be deleted'))
        .then(schedule);
    });
  }

  async function sweep(): Promise<void> {
    const before = clock.now() - limits.auditKeepMs;
    // From organization to organization: there each step is a look into the primary key, however many rows there are.
    let organization = await nextOrganization('');
    while (organization !== undefined && !stopping.aborted) {
      const isDone = !(await deleteOldest(organization, before));
      if (isDone) organization = await nextOrganization(organization);
    }
  }

  async function nextOrganization(after: string): Promise<string | undefined> {
    const row = await store.db
      .selectFrom('audit')
      .select('organization_id')
      .where('organization_id', '>', after)
      .orderBy('organization_id')
      .limit(1)
      .executeTakeFirst();
    return row?.organization_id;
  }

  /** Deletes up to `auditSweepRows`, and those of the same millisecond as the last. Returns whether there may be more. */
  async function deleteOldest(organization: string, before: number): Promise<boolean> {
    const last = await store.db
      .selectFrom('audit')
      .select('time')
      .where('organization_id', '=', organization)
      .where('time', '<', before)
      .orderBy('time')
      .offset(limits.auditSweepRows - 1)
      .limit(1)
      .executeTakeFirst();
    await store.write((transaction) =>
      transaction
        .deleteFrom('audit')
        .where('organization_id', '=', organization)
        .where('time', last ? '<=' : '<', last?.time ?? before)
        .execute(),
    );
    return last !== undefined;
  }

  schedule();
  return {
    async settled() {
      cancelTimer();
      await sweeping;
    },
  };
}
