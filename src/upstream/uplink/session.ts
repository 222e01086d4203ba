import type { RpcAnswer } from '../../mcp/answer.ts';
import type { RequestId } from '../../mcp/message.ts';
import type { Agreement } from '../initialize.ts';
import {
  type LegacyClient,
  type LegacySession,
  SessionLost,
  type SessionRequest,
  type UpstreamMessage,
} from '../legacy-session.ts';
import type { Member, Peer } from './peer.ts';

/** What a client has already been told, or tells for itself and not for others. */
const notForwarded = new Set([
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
]);

const tooSlow = { code: -32603, message: 'The client takes its messages too slowly.' };

/**
 * The session of one client with a server behind a tunnel. The server has been initialized once, for all: a session of
 * this kind is a view of it, and ends with the tunnel.
 */
export class TunnelSession implements LegacySession, Member {
  readonly capabilities: Record<string, unknown>;
  readonly hearsChanges: boolean;
  readonly #peer: Peer;
  readonly #agreement: Agreement;
  readonly #ended = new AbortController();
  #listener: SessionRequest['onMessage'] | undefined;
  #unheard = 0;

  constructor(peer: Peer, agreement: Agreement, client: LegacyClient, hearsChanges: boolean) {
    this.#peer = peer;
    this.#agreement = agreement;
    this.capabilities = client.capabilities;
    this.hearsChanges = hearsChanges;
    peer.join(this);
    const end = () => this.#ended.abort(new SessionLost());
    peer.ended.addEventListener('abort', end, { once: true, signal: this.#ended.signal });
    if (peer.ended.aborted) end();
  }

  get revision(): string {
    return this.#agreement.revision;
  }

  get result(): Record<string, unknown> {
    return this.#agreement.result;
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  async request(request: SessionRequest): Promise<RpcAnswer> {
    this.#requireOpen();
    return this.#peer.ask(this, request);
  }

  async notify(method: string, params: Record<string, unknown> | undefined): Promise<void> {
    this.#requireOpen();
    if (!notForwarded.has(method)) this.#peer.send({ method, ...(params && { params }) });
  }

  async respond(id: RequestId, answer: { result: unknown } | { error: unknown }): Promise<void> {
    this.#requireOpen();
    this.#peer.respond(this, id, answer);
  }

  async listen(onMessage: SessionRequest['onMessage']): Promise<boolean> {
    this.#requireOpen();
    this.#listener = onMessage;
    return true;
  }

  /** The tunnel has no credentials of ours. */
  retarget(): void {}

  async close(): Promise<void> {
    this.#listener = undefined;
    this.#peer.leave(this);
    this.#ended.abort(new SessionLost());
  }

  /** Waits for nobody, as the tunnel is that of the others too: a client that falls far behind misses some. */
  hear(message: UpstreamMessage): void {
    if (!this.#listener) return;
    if (this.#unheard >= this.#peer.maxUnheard) {
      if (message.id !== undefined) this.#peer.respond(this, message.id, { error: tooSlow });
      return;
    }
    this.#unheard++;
    const heard = () => {
      this.#unheard--;
    };
    Promise.resolve(this.#listener(message)).then(heard, heard);
  }

  #requireOpen(): void {
    if (this.ended.aborted) throw new SessionLost();
  }
}
