import type { CompiledQuery } from 'kysely';
import { backoffMs } from '../platform/backoff.ts';
import type { Clock } from '../platform/clock.ts';
import { randomText } from '../platform/ids.ts';
import type { Limits } from '../platform/limits.ts';
import type { Logger } from '../platform/logger.ts';
import type { AuditRow } from '../platform/store/schema.ts';
import type { Store } from '../platform/store/store.ts';
import type { AuditEntry } from './entry.ts';

export interface AuditDeps {
  store: Store;
  clock: Clock;
  limits: Limits;
  log: Logger;
}

/**
 * Writes what happened, in the background: entries wait in memory for at most `auditFlushMs`, so that a process that is
 * killed loses no more than those, and go to the table many at once. Never slows a call down: when more than
 * `auditQueueRows` wait, because the store is too slow or gone, further ones are dropped and counted in the log.
 */
export interface AuditLog {
  /** Takes an entry that has ended; what is noted in it later does not count. Never throws. */
  record(entry: AuditEntry): void;
  /** Writes what waits, and takes no more. Resolves also if the store fails; what is lost then is in the log. */
  close(): Promise<void>;
}

/** The order of the values of a row. */
const columns = [
  'id',
  'time',
  'organization_id',
  'namespace',
  'connection_uid',
  'connection_id',
  'principal_kind',
  'key_id',
  'token_id',
  'user_id',
  'method',
  'tool',
  'outcome',
  'code',
  'status',
  'duration_ms',
  'bytes_in',
  'bytes_out',
  'trace_id',
  'detail',
] as const satisfies readonly (keyof AuditRow)[];

/** Values of whole rows, one after the other, as a statement takes them: no object a row has to wait with them. */
type Values = (string | number | null)[];

/** How many rows the statements take: few sizes, because a prepared statement of many rows is large. */
const statementRows = [200, 20, 1] as const;
const fullLength = statementRows[0] * columns.length;

/** Builds the audit log of this process. */
export function createAuditLog({ store, clock, limits, log }: AuditDeps): AuditLog {
  // Ids in the order of writing: they end a page where times are equal, and an index grows at its end.
  const idPrefix = `aud_${randomText(8)}`;
  let serial = 0;
  let waiting: Values[] = [];
  let filling: Values = [];
  let waitingRows = 0;
  let dropped = 0;
  let failures = 0;
  let isClosed = false;
  let isScheduled = false;
  let cancelTimer = () => {};
  let flushing: Promise<void> | undefined;
  const statements = new Map<number, CompiledQuery>();

  function schedule(ms: number): void {
    cancelTimer();
    isScheduled = true;
    cancelTimer = clock.after(ms, () => {
      isScheduled = false;
      flushing = flush().finally(() => {
        flushing = undefined;
        if (waitingRows > 0 && !isClosed) schedule(nextMs());
      });
    });
  }

  function nextMs(): number {
    const { auditFlushMs, auditFlushRows, auditRetryMaxMs } = limits;
    if (failures > 0) return backoffMs(failures, auditFlushMs, auditRetryMaxMs);
    return waitingRows >= auditFlushRows ? 0 : auditFlushMs;
  }

  async function flush(): Promise<void> {
    const taken = filling.length > 0 ? [...waiting, filling] : waiting;
    const takenRows = waitingRows;
    waiting = [];
    filling = [];
    try {
      if (takenRows > 0) await write(taken);
      waitingRows -= takenRows;
      failures = 0;
    } catch (error) {
      // They go again, under the same ids: the commit may have come through and only its answer not.
      waiting = [...taken, ...waiting];
      failures++;
      log.error({ err: error, waiting: waitingRows }, 'the audit could not be written');
    }
    if (dropped > 0) {
      log.warn({ dropped }, 'the audit takes too little: entries were dropped');
      dropped = 0;
    }
  }

  /** One transaction, whose statements let the calls under way take turns with them. */
  async function write(taken: readonly Values[]): Promise<void> {
    await store.write(async (transaction) => {
      for (const values of taken.flatMap(inStatements)) {
        const query = insertOf(values.length / columns.length);
        await transaction.executeQuery({ ...query, parameters: values });
        await new Promise(setImmediate);
      }
    });
  }

  /** Compiled once for each number of rows: building it would cost more than the database takes. */
  function insertOf(rows: number): CompiledQuery {
    let query = statements.get(rows);
    if (!query) {
      const row = Object.fromEntries(columns.map((name) => [name, null])) as unknown as AuditRow;
      query = store.db
        .insertInto('audit')
        .columns(columns)
        .values(Array.from({ length: rows }, () => row))
        .onConflict((conflict) => conflict.doNothing())
        .compile();
      statements.set(rows, query);
    }
    return query;
  }

  return {
    record(entry) {
      if (waitingRows >= limits.auditQueueRows || isClosed) {
        dropped++;
        return;
      }
      waitingRows++;
      const { actor } = entry;
      filling.push(
        idPrefix + (serial++).toString(36).padStart(9, '0'),
        entry.time,
        actor.organizationId,
        entry.namespace,
        entry.connectionUid,
        short(entry.connectionId),
        actor.kind,
        actor.keyId,
        actor.tokenId,
        actor.userId,
        short(entry.method),
        short(entry.tool),
        entry.outcome,
        entry.code,
        entry.status,
        entry.durationMs,
        entry.bytesIn,
        entry.bytesOut,
        entry.traceId,
        entry.detail,
      );
      if (filling.length === fullLength) {
        waiting.push(filling);
        filling = [];
      }
      if (flushing) return;
      if (waitingRows === limits.auditFlushRows) schedule(0);
      else if (!isScheduled) schedule(limits.auditFlushMs);
    },
    async close() {
      isClosed = true;
      cancelTimer();
      await flushing;
      await flush();
      if (waitingRows > 0) log.error({ lost: waitingRows }, 'the audit was not written to its end');
    },
  };

  /** What callers name themselves: not longer than is of use, and without the one character that PostgreSQL refuses. */
  function short(text: string | null): string | null {
    if (text === null) return null;
    const cut = text.length > limits.auditNameChars ? text.slice(0, limits.auditNameChars) : text;
    return cut.includes('\0') ? cut.replaceAll('\0', '\ufffd') : cut;
  }
}

/** Cuts rows into as few statements as there can be. */
function inStatements(values: Values): Values[] {
  const statements: Values[] = [];
  let start = 0;
  for (const rows of statementRows) {
    const length = rows * columns.length;
    for (; values.length - start >= length; start += length) {
      statements.push(length === values.length ? values : values.slice(start, start + length));
    }
  }
  return statements;
}
