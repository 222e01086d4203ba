import type { RawData, WebSocket } from 'ws';
import type { Limits } from '../platform/limits.ts';
import { BadFrame, type FrameMessage, readFrame } from './frame.ts';

/** How a tunnel is closed (RFC 6455 §7.4.1). The vendor's command line knows the first by its reason (api.md §7). */
export const closings = {
  replaced: { code: 1001, reason: 'replaced' },
  deleted: { code: 1000, reason: 'deleted' },
  /** Come back: another process, or this one after its restart, takes the tunnel. */
  restart: { code: 1012, reason: 'restart' },
  /** What it was opened with is not valid any more (RFC 6455 §7.4.1: a policy). */
  forbidden: { code: 1008, reason: 'the credential is not valid any more' },
  badFrame: { code: 1007, reason: '' },
  refused: { code: 1002, reason: 'initialize was not answered as MCP asks' },
} as const;

export interface Closing {
  code: number;
  reason: string;
}

/**
 * One live WebSocket with the machine of a local MCP server: JSON-RPC messages both ways, one a frame. Nothing is sent
 * or heard after it has ended; its socket may need a moment more for the closing handshake.
 */
export class Tunnel {
  /** The connection's row, and the version of its target that this tunnel is. */
  readonly uid: string;
  readonly version: number;
  /** Resolves when the socket is closed. */
  readonly closed: Promise<void>;
  readonly #socket: WebSocket;
  readonly #limits: Limits;
  readonly #ended = new AbortController();
  #onMessage: (message: FrameMessage) => void = () => {};
  /** Whether anything came since the last ping. */
  #isAlive = true;

  constructor(socket: WebSocket, uid: string, version: number, limits: Limits) {
    this.uid = uid;
    this.version = version;
    this.#socket = socket;
    this.#limits = limits;
    socket.on('message', (data) => this.#receive(data));
    socket.on('pong', () => {
      this.#isAlive = true;
    });
    // What goes wrong ends the socket, which says so by itself.
    socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#ended.abort();
        resolve();
      });
    });
  }

  /** Aborted when it has ended, whoever ended it. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** Hears every message from now on; one that came before is lost. */
  listen(onMessage: (message: FrameMessage) => void): void {
    this.#onMessage = onMessage;
  }

  /** Sends a message; false where as much waits to be sent as may, and this was not taken. */
  send(message: FrameMessage): boolean {
    if (this.#ended.signal.aborted) return false;
    if (this.#socket.bufferedAmount > this.#limits.uplinkBufferedBytes) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Ends it at once, and closes its socket with the handshake that WebSocket has for it. */
  close({ code, reason }: Closing): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort();
    this.#socket.close(code, reason);
  }

  /** Asks whether the other end is still there; cuts the socket where it has not answered since the last time. */
  ping(): void {
    if (!this.#isAlive) return this.#socket.terminate();
    this.#isAlive = false;
    this.#socket.ping();
  }

  #receive(data: RawData): void {
    if (this.#ended.signal.aborted) return;
    this.#isAlive = true;
    try {
      this.#onMessage(readFrame(data as Buffer, this.#limits.answerDepth));
    } catch (error) {
      if (!(error instanceof BadFrame)) throw error;
      this.close({ ...closings.badFrame, reason: error.message });
    }
  }
}
