import { callUpstream } from '../upstream/call.ts';
import { refusedCredentials, UpstreamFault } from '../upstream/fault.ts';
import { createTarget, type Target } from '../upstream/target.ts';
import { type Connection, fromRow } from './connection.ts';
import { type ConnectionsDeps, staleKey } from './deps.ts';
import { adoptSession, type Finding, findingColumns, probe, releaseSession } from './probe.ts';
import { unsealHeaders } from './sealed-headers.ts';

/**
 * Probes connections in the background: those in `error` until they answer, and those of which a call
 * raised a doubt. The time of the next probe is in the row, and so is the claim of the process that probes, taken
 * by compare-and-swap: one process at a time probes, and the claim of one that dies runs out.
 */
export interface Healer {
  /** Looks for due probes soon; call it after setting one. */
  wake(): void;
  /** A reader met a connection in `error`: probe it now, unless that was just done. Waits for nothing. */
  nudge(connection: Connection): void;
  /** Probes now, whatever the state, unless this process is at it; resolves when the finding is stored. */
  probeNow(connection: Connection): Promise<void>;
  /** Waits for probes under way; call it once `stopping` is aborted. */
  settled(): Promise<void>;
}

/**
 * Builds the healer of this process; its first sweep comes at once, and the last before `deps.stopping` aborts.
 * Faults of a sweep or a probe are logged, not thrown.
 */
export function createHealer(deps: ConnectionsDeps): Healer {
  const { store, keyring, clock, limits, log, sessions, stopping } = deps;
  const running = new Map<string, Promise<void>>();
  const leaseMs = limits.probeMs + 10_000;
  let cancelTimer = () => {};
  let sweeping = false;
  let sweepAgain = false;

  function schedule(ms: number): void {
    cancelTimer();
    if (!stopping.aborted) cancelTimer = clock.after(ms, () => void sweep());
  }

  async function sweep(): Promise<void> {
    if (stopping.aborted) return;
    if (sweeping) {
      sweepAgain = true;
      return;
    }
    sweeping = true;
    let nextMs = limits.healSweepMs;
    try {
      const rows = await store.db
        .selectFrom('connections')
        .selectAll()
        .where('probe_at', 'is not', null)
        .where((row) =>
          row.or([
            row('probe_claim', 'is', null),
            row('probe_claim', '<=', clock.now()),
            row('probe_claim', '>', clock.now() + leaseMs),
          ]),
        )
        .orderBy('probe_at')
        .limit(limits.healConcurrency * 2)
        .execute();
      for (const row of rows) {
        const connection = fromRow(row);
        const waitMs = (connection.probeAt ?? 0) - clock.now();
        // Further off than any probe is ever set: the clock has gone back since.
        if (waitMs > 0 && waitMs <= limits.healMaxMs + leaseMs) {
          nextMs = Math.min(nextMs, waitMs);
          break;
        }
        if (running.size >= limits.healConcurrency) break;
        void run(connection);
      }
    } catch (error) {
      log.error({ err: error }, 'due probes could not be read');
    }
    sweeping = false;
    schedule(sweepAgain ? 0 : Math.max(nextMs, 50));
    sweepAgain = false;
  }

  function run(connection: Connection): Promise<void> {
    const known = running.get(connection.uid);
    if (known) return known;
    const work = claimAndProbe(connection.uid)
      .then(wake, (error: unknown) => {
        // A process that stops breaks its last probes off. The next sweep comes in its own time: a store that
        // fails at once would otherwise be asked without a pause.
        if (!stopping.aborted)
          log.error({ err: error, connection: connection.uid }, 'a background probe failed');
      })
      .finally(() => running.delete(connection.uid));
    running.set(connection.uid, work);
    return work;
  }

  async function claimAndProbe(uid: string): Promise<void> {
    // Read anew: the caller may have seen the row before somebody else changed or claimed it.
    const row = await store.db
      .selectFrom('connections')
      .selectAll()
      .where('uid', '=', uid)
      .executeTakeFirst();
    if (!row) return;
    const connection = fromRow(row);
    const { probeClaim } = connection;
    const leftMs = (probeClaim ?? 0) - clock.now();
    // Longer than any claim is ever made: the clock has gone back since.
    if (leftMs > 0 && leftMs <= leaseMs) return;
    const claim = clock.now() + leaseMs;
    const claimed = await store.db
      .updateTable('connections')
      .set({ probe_claim: claim })
      .where('uid', '=', uid)
      .where('target_version', '=', connection.targetVersion)
      .where('probe_claim', probeClaim === null ? 'is' : '=', probeClaim)
      .executeTakeFirst();
    if (claimed.numUpdatedRows === 0n) return;
    try {
      await probeClaimed(connection);
    } finally {
      await store.db
        .updateTable('connections')
        .set({ probe_claim: null })
        .where('uid', '=', uid)
        .where('probe_claim', '=', claim)
        .execute();
    }
  }

  async function probeClaimed(connection: Connection): Promise<void> {
    const { uid, namespace, id, targetVersion } = connection;
    const headers = await unsealHeaders(keyring, namespace, uid, connection.sealedHeaders);
    const target = createTarget(uid, targetVersion, connection.mcpUrl, headers);
    const found = await probeAsBefore(deps, connection, target);
    const finding = { ...found, at: Math.max(found.at, connection.statusAt) };
    const columns = findingColumns(finding, connection.probeAttempt, deps);
    const isStored = await store.write(async (transaction, stale) => {
      const updated = await transaction
        .updateTable('connections')
        .set(columns)
        .where('uid', '=', uid)
        .where('target_version', '=', targetVersion)
        .where('status_at', '<=', finding.at)
        .executeTakeFirst();
      if (updated.numUpdatedRows > 0n) {
        stale(staleKey(namespace, id));
        return true;
      }
      // A call has newer evidence: keep its status, and probe again only if that asks for it.
      await transaction
        .updateTable('connections')
        .set({ probe_at: null })
        .where('uid', '=', uid)
        .where('target_version', '=', targetVersion)
        .where('status', '=', JSON.stringify({ state: 'connected' }))
        .execute();
      return false;
    });
    if (isStored) adoptSession(sessions, target, finding);
    else releaseSession(sessions, target, finding);
  }

  function wake(): void {
    schedule(0);
  }

  wake();
  return {
    wake,
    nudge(connection) {
      if (connection.status.state !== 'error' || running.size >= limits.healConcurrency) return;
      if (Math.abs(clock.now() - connection.statusAt) >= limits.healMinMs) void run(connection);
    },
    probeNow: run,
    async settled() {
      cancelTimer();
      await Promise.allSettled(running.values());
    },
  };
}

/**
 * A probe that does not forget how the last call failed: many servers discover and initialize for anyone and
 * ask for credentials later, so after a refusal the probe also lists tools before it believes that all is well.
 */
async function probeAsBefore(
  deps: ConnectionsDeps,
  { status }: Connection,
  target: Target,
): Promise<Finding> {
  const finding = await probe(deps, target);
  const wasRefused = status.state === 'error' && status.message.startsWith(refusedCredentials);
  if (!wasRefused || !finding.learned) return finding;
  const { transport, sessions, limits, stopping, clock } = deps;
  const signal = AbortSignal.any([stopping, AbortSignal.timeout(limits.discoverMs)]);
  adoptSession(sessions, target, finding);
  try {
    await callUpstream(transport, sessions, target, finding.learned.protocol, 'tools/list', {}, signal);
    return finding;
  } catch (fault) {
    if (!(fault instanceof UpstreamFault)) throw fault;
    return { status: { state: 'error', message: fault.message }, at: clock.now(), learned: undefined };
  }
}
