import { ApiError } from '../../platform/errors.ts';
import type { Hub } from '../../uplink/hub.ts';
import { closings, type Tunnel } from '../../uplink/tunnel.ts';
import type { ChangeFeed } from '../../upstream/change-feed.ts';
import type { LocalBus } from '../../upstream/uplink/bus.ts';
import { Peer } from '../../upstream/uplink/peer.ts';
import type { Connection } from '../connection.ts';
import { type ConnectionsDeps, staleKey } from '../deps.ts';
import { findConnectionByUid } from '../find.ts';
import { claimTunnel, noteServerInfo, releaseTunnel } from './claim.ts';
import type { Holder } from './holder.ts';

/** Pairs uplinks with the machines that open tunnels for them, and keeps their rows true. */
export interface Pairings {
  /**
   * Takes the uplink for a tunnel that is about to open; its row says `connected` from now on. Call `attach` or `release`
   * next. Throws ApiError `uplink_in_use` while another tunnel is live, unless by `force`, and `validation_error` for a
   * connection that is no uplink.
   */
  claim(connection: Connection, force: boolean): Promise<Connection>;
  /** The tunnel of a claim is open: calls go through it until it ends. One that was there before is closed as replaced. */
  attach(claimed: Connection, tunnel: Tunnel): void;
  /** The tunnel of a claim did not open. */
  release(claimed: Connection): Promise<void>;
  /** Waits until no call is in a tunnel, at most `drainMs`, and closes all tunnels; their machines are to come back. */
  drain(): Promise<void>;
}

/** What pairings need besides what all verbs on connections do. */
export interface PairingDeps extends ConnectionsDeps {
  hub: Hub;
  bus: LocalBus;
  feed: ChangeFeed;
  holder: Holder;
}

/** Builds the pairings of this process. */
export function createPairings(deps: PairingDeps): Pairings {
  const { store, clock, limits, log, hub, bus, feed, holder, circuits } = deps;
  /** What each tunnel here was paired as, by the cache key of its connection. */
  const paired = new Map<string, Connection>();
  const pending = new Set<Promise<void>>();

  function inBackground(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => log.error({ err: error }, 'the row of an uplink could not be kept true'))
      .finally(() => pending.delete(tracked));
    pending.add(tracked);
  }

  // Another process may take the uplink over, or delete the connection, and says so by its row.
  store.onStale((key) => {
    for (const [name, connection] of paired) {
      const isMeant =
        key === null ||
        key === name ||
        (key.startsWith('namespace:') && key.endsWith(`:${connection.namespace}`));
      if (isMeant) inBackground(verify(connection));
    }
  });

  async function verify({ uid, targetVersion }: Connection): Promise<void> {
    const row = await findConnectionByUid(store, uid);
    const tunnel = hub.find(uid);
    if (tunnel?.version !== targetVersion) return;
    if (!row) tunnel.close(closings.deleted);
    else if (row.targetVersion !== targetVersion) tunnel.close(closings.replaced);
    // This process was taken for dead.
    else if (row.uplinkHolder !== holder.id) tunnel.close(closings.restart);
  }

  return {
    async claim(connection, force) {
      if (connection.transport !== 'uplink') {
        throw new ApiError('validation_error', {
          message: 'connectionId: is no uplink. Create one with transport "uplink".',
        });
      }
      const claimed = await claimTunnel(deps, connection, holder.id, force);
      if (claimed) return claimed;
      throw new ApiError(
        (await findConnectionByUid(store, connection.uid)) ? 'uplink_in_use' : 'connection_not_found',
      );
    },
    attach(claimed, tunnel) {
      const { uid, namespace, id } = claimed;
      const key = staleKey(namespace, id);
      paired.set(key, claimed);
      hub.add(tunnel);
      circuits.reset(uid);
      const peer = new Peer(tunnel, clock, limits, feed);
      bus.attach(uid, peer);
      peer.agreed.then(
        ({ result }) => inBackground(noteServerInfo(deps, claimed, result)),
        () => {},
      );
      const end = () => {
        if (paired.get(key) === claimed) paired.delete(key);
        inBackground(releaseTunnel(deps, claimed));
      };
      if (tunnel.ended.aborted) return end();
      tunnel.ended.addEventListener('abort', end);
      // It may have been taken over or deleted between the claim and now.
      inBackground(verify(claimed));
    },
    release: (claimed) => releaseTunnel(deps, claimed),
    async drain() {
      const limit = Promise.withResolvers<void>();
      const cancel = clock.after(limits.drainMs, limit.resolve);
      await Promise.race([bus.idle(), limit.promise]);
      cancel();
      await hub.close(closings.restart);
      while (pending.size > 0) await Promise.all(pending);
    },
  };
}
