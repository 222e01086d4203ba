import type { Clock } from '../platform/clock.ts';
import type { Limits } from '../platform/limits.ts';
import { type Closing, closings, type Tunnel } from './tunnel.ts';

/** The live tunnels of this process: one a connection. */
export interface Hub {
  /** Keeps `tunnel` until it ends; one that its connection had before is replaced. */
  add(tunnel: Tunnel): void;
  /** The live tunnel of the connection `uid`. */
  find(uid: string): Tunnel | undefined;
  /** Closes all, and resolves when their sockets are closed. */
  close(closing: Closing): Promise<void>;
}

/** Builds the hub, empty. Every `uplinkPingMs` it asks all tunnels whether they are still there. */
export function createHub(clock: Clock, limits: Limits): Hub {
  const live = new Map<string, Tunnel>();
  /** Sockets that are not closed yet. */
  const open = new Set<Tunnel>();
  let cancelPing = clock.after(limits.uplinkPingMs, ping);

  function ping(): void {
    for (const tunnel of live.values()) tunnel.ping();
    cancelPing = clock.after(limits.uplinkPingMs, ping);
  }

  return {
    add(tunnel) {
      live.get(tunnel.uid)?.close(closings.replaced);
      live.set(tunnel.uid, tunnel);
      open.add(tunnel);
      tunnel.ended.addEventListener('abort', () => {
        if (live.get(tunnel.uid) === tunnel) live.delete(tunnel.uid);
      });
      void tunnel.closed.then(() => open.delete(tunnel));
    },
    find: (uid) => live.get(uid),
    async close(closing) {
      cancelPing();
      for (const tunnel of [...live.values()]) tunnel.close(closing);
      await Promise.all([...open].map(({ closed }) => closed));
    },
  };
}
