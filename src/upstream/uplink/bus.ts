import { faultOfError } from '../fault.ts';
import { type LegacyClient, type LegacySession, SessionLost } from '../legacy-session.ts';
import type { Target } from '../target.ts';
import { UplinkElsewhere, UplinkOffline } from './faults.ts';
import type { Peer } from './peer.ts';
import { TunnelSession } from './session.ts';

/** Leads to the process that holds a tunnel. */
export interface UplinkBus {
  /**
   * Opens a session of `client` with the server behind the tunnel of `target`, wherever that is held. It ends with the
   * tunnel. Throws UplinkOffline and UplinkElsewhere at once; waits for the server to be initialized, at most until
   * `deadline`.
   */
  open(
    target: Target,
    client: LegacyClient,
    hearsChanges: boolean,
    deadline: AbortSignal,
  ): Promise<LegacySession>;
}

/** Knows the tunnels of this process, and of the others only that they are there. */
export class LocalBus implements UplinkBus {
  readonly #processId: string;
  readonly #peers = new Map<string, Peer>();

  /** `processId` is what the rows of connections call this process. */
  constructor(processId: string) {
    this.#processId = processId;
  }

  /** Leads to `peer` until its tunnel ends. */
  attach(uid: string, peer: Peer): void {
    this.#peers.set(uid, peer);
    const detach = () => {
      if (this.#peers.get(uid) === peer) this.#peers.delete(uid);
    };
    peer.ended.addEventListener('abort', detach);
    if (peer.ended.aborted) detach();
  }

  async open(
    { uid, uplinkHolder }: Target,
    client: LegacyClient,
    hearsChanges: boolean,
    deadline: AbortSignal,
  ): Promise<LegacySession> {
    const peer = this.#peers.get(uid);
    if (!peer) {
      throw uplinkHolder == null || uplinkHolder === this.#processId
        ? new UplinkOffline()
        : new UplinkElsewhere();
    }
    const agreement = await before(deadline, peer.agreed).catch((error: unknown) => {
      throw error instanceof SessionLost ? new UplinkOffline() : faultOfError(error);
    });
    return new TunnelSession(peer, agreement, client, hearsChanges);
  }

  /** Resolves when no call waits in any of the tunnels. */
  async idle(): Promise<void> {
    await Promise.all([...this.#peers.values()].map((peer) => peer.whenIdle()));
  }
}

function before<T>(deadline: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(deadline.reason);
    if (deadline.aborted) giveUp();
    deadline.addEventListener('abort', giveUp);
    work.then(resolve, reject).finally(() => deadline.removeEventListener('abort', giveUp));
  });
}
