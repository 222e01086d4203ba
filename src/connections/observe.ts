import type { UpstreamFault } from '../upstream/fault.ts';
import type { Connection } from './connection.ts';
import type { ConnectionsDeps } from './deps.ts';
import type { Healer } from './heal.ts';
import type { Resolver } from './resolve.ts';
import type { Status } from './status.ts';
import { findingColumns, storeFinding } from './store-finding.ts';

/**
 * Keeps the status true: whoever hears from an upstream says so here, without waiting for the write.
 * The newest evidence wins, and evidence about an older URL or older headers does not count. The status of an uplink is
 * that of its tunnel, whatever its server says.
 */
export interface Observer {
  /** The upstream answered as an MCP server does. */
  succeeded(connection: Connection): void;
  /** The upstream failed; if that alone proves nothing, a probe starts at once and decides. */
  failed(connection: Connection, fault: UpstreamFault): void;
  /** The upstream answered something that does not fit what is known of it: a probe learns it anew. */
  doubted(connection: Connection): void;
  /** Resolves when every observation made so far is stored. */
  settled(): Promise<void>;
}

/** Builds the observer of this process. `resolver` tells what status is already known to be stored. */
export function createObserver(deps: ConnectionsDeps, healer: Healer, resolver: Resolver): Observer {
  const { clock, log } = deps;
  const pending = new Set<Promise<void>>();

  function inBackground(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => log.error({ err: error }, 'an observation could not be stored'))
      .finally(() => pending.delete(tracked));
    pending.add(tracked);
  }

  async function store(connection: Connection, status: Status): Promise<void> {
    // Not before what it replaces, should the clock have gone back.
    const at = Math.max(clock.now(), connection.statusAt);
    const finding = { status, at, learned: undefined, inputs: undefined, login: undefined };
    const found = { status, columns: findingColumns(finding, 0, deps) };
    await storeFinding(deps, connection, found, { unlessNewer: true, onlyChange: true });
    healer.wake();
  }

  return {
    succeeded(connection) {
      deps.circuits.succeeded(connection.uid);
      if (connection.transport === 'uplink') return;
      // The call may have begun before somebody else changed the status, so what it knew then does not count.
      if (resolver.peek(connection)?.status.state === 'connected') return;
      inBackground(store(connection, { state: 'connected' }));
    },
    failed(connection, fault) {
      deps.circuits.failed({ uid: connection.uid, version: connection.targetVersion }, fault);
      if (fault.kind === 'busy' || connection.transport === 'uplink') return;
      if (!fault.decisive) {
        inBackground(healer.probeNow(connection));
        return;
      }
      inBackground(store(connection, { state: 'error', message: fault.message }));
    },
    doubted(connection) {
      if (connection.transport === 'uplink') return;
      inBackground(healer.probeNow(connection));
    },
    async settled() {
      while (pending.size > 0) await Promise.all(pending);
    },
  };
}
