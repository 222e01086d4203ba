import { CredentialsRefused, UpstreamBusy, UpstreamFault } from '../upstream/fault.ts';
import { type Connection, fromRow } from './connection.ts';
import { type CredentialedDeps, maxRecoveries, type ResolvedConnection } from './credentials.ts';
import { adoptSession, type Finding, failed, probe, releaseSession, wasRefused } from './probe.ts';
import { settle } from './settle.ts';
import { isWaiting, type Status } from './status.ts';
import { findingColumns, storeFinding } from './store-finding.ts';

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
export function createHealer(deps: CredentialedDeps): Healer {
  const { store, credentials, clock, limits, log, sessions, circuits, stopping } = deps;
  const running = new Map<string, Promise<void>>();
  const leaseMs = limits.lookMs + 30_000;
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
            row('probe_claim', '>', clock.now() + 2 * leaseMs),
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
    const { probeClaim, probeAt, status } = connection;
    // Its status is that of its tunnel.
    if (connection.transport === 'uplink') return;
    // Its user must act first; only a login that was just completed asks for a probe (finish-login.ts).
    if (isWaiting(status) && probeAt === null) return;
    if (circuits.pausedMs(uid) > 0) return putOff(connection);
    const leftMs = (probeClaim ?? 0) - clock.now();
    // Longer than any claim is made, whosever clock is ahead a little: the clock has gone back since.
    if (leftMs > 0 && leftMs <= 2 * leaseMs) return;
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

  /** The upstream has asked to be left alone: a probe is a call like any other. */
  async function putOff({ uid, targetVersion }: Connection): Promise<void> {
    await store.db
      .updateTable('connections')
      // The sweep takes what is further off for the work of a clock that has gone back.
      .set({ probe_at: clock.now() + Math.min(circuits.pausedMs(uid), limits.healMaxMs) })
      .where('uid', '=', uid)
      .where('target_version', '=', targetVersion)
      .where('probe_at', '<=', clock.now())
      .execute();
  }

  async function probeClaimed(connection: Connection): Promise<void> {
    const { uid, statusAt, probeAttempt } = connection;
    const probed = await probeAsBefore(connection);
    if (!probed) return;
    const finding = { ...probed.finding, at: Math.max(probed.finding.at, statusAt) };
    if (finding.learned) circuits.succeeded(uid);
    const { targetVersion: version } = probed.connection;
    if (finding.fault instanceof UpstreamBusy) circuits.failed({ uid, version }, finding.fault);
    const found = { status: finding.status, columns: findingColumns(finding, probeAttempt, deps) };
    const stored = await storeFinding(deps, probed.connection, found, { unlessNewer: true });
    if (stored) {
      adoptSession(sessions, finding);
      await settle(deps, stored, finding.login);
      return;
    }
    releaseSession(sessions, finding);
    // A call has newer evidence: keep its status, and probe again only if that asks for it.
    await store.db
      .updateTable('connections')
      .set({ probe_at: null })
      .where('uid', '=', uid)
      .where('target_version', '=', probed.connection.targetVersion)
      .where('status', '=', JSON.stringify({ state: 'connected' }))
      .execute();
  }

  /**
   * Probes with the credentials as they are, renewed where that helps. undefined: the connection waits for its user
   * now, or is gone.
   */
  async function probeAsBefore(
    connection: Connection,
  ): Promise<{ finding: Finding; connection: Connection } | undefined> {
    let probed = connection;
    try {
      let opened = await credentials.openFresh(connection);
      for (let recoveries = 0; opened; recoveries++) {
        probed = opened.connection;
        const finding = await probeOpened(deps, connection.status, opened);
        const { fault } = finding;
        if (!(fault instanceof CredentialsRefused) || recoveries >= maxRecoveries) {
          return { finding, connection: probed };
        }
        opened = await credentials.recover(opened, fault);
      }
      return undefined;
    } catch (fault) {
      if (!(fault instanceof UpstreamFault)) throw fault;
      return { finding: failed(fault, clock.now()), connection: probed };
    }
  }

  function wake(): void {
    // The end of a sweep sets the timer anew, so what comes meanwhile must not count on it.
    if (sweeping) sweepAgain = true;
    else schedule(0);
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

function probeOpened(
  deps: CredentialedDeps,
  status: Status,
  { connection, headers, grant }: ResolvedConnection,
): Promise<Finding> {
  const { uid, namespace, mcpUrl, targetVersion: version, inputs, protocol: known } = connection;
  return probe(deps, {
    uid,
    version,
    namespace,
    mcpUrl,
    headers,
    inputs,
    grant,
    known,
    wasRefused: wasRefused(status),
    mayRegister: false,
  });
}
