import type { FrameMessage } from '../frame.ts';

/** A call that the server has not answered. */
interface OpenCall {
  /** As the tunnel knows it. */
  id: unknown;
  /** Milliseconds of a clock that never goes back. */
  startedAt: number;
}

/** What a conversation has seen so far. */
export interface Tally {
  open: number;
  answered: number;
  /** Milliseconds that the last answer took; undefined before the first. */
  lastMs: number | undefined;
}

/**
 * One start of a local server, and whatever tunnels it is used through. A server is initialized once: what it answered
 * is given to each later tunnel. Calls travel under ids of ours, so that a late answer to a call of a tunnel that was lost
 * cannot pass for one of the next.
 */
export class Conversation {
  readonly #now: () => number;
  readonly #calls = new Map<number, OpenCall>();
  /** Ids of what the server asks. */
  readonly #questions = new Set<unknown>();
  #lastId = 0;
  #answered = 0;
  #lastMs: number | undefined;
  /** The request of ours that initializes the server, while it is under way. */
  #initializing: number | undefined;
  #initialized: FrameMessage | undefined;
  #isConfirmed = false;

  constructor(now: () => number) {
    this.#now = now;
  }

  get tally(): Tally {
    return { open: this.#calls.size, answered: this.#answered, lastMs: this.#lastMs };
  }

  /** A message of the tunnel as the server gets it; undefined for what it need not hear. `reply` answers in the tunnel. */
  toServer(message: FrameMessage, reply: (message: FrameMessage) => void): FrameMessage | undefined {
    const { id, method } = message;
    if (method === undefined) {
      return this.#questions.delete(id) ? message : undefined;
    }
    if (id === undefined) return this.#tell(message);
    if (method === 'initialize') {
      if (this.#initialized) {
        reply({ jsonrpc: '2.0', id, result: this.#initialized });
        return undefined;
      }
      const underWay = this.#initializing === undefined ? undefined : this.#calls.get(this.#initializing);
      if (underWay) {
        // Asked again, because the answer takes long: it is for the last one who asked.
        underWay.id = id;
        return undefined;
      }
    }
    const own = ++this.#lastId;
    if (method === 'initialize') this.#initializing = own;
    this.#calls.set(own, { id, startedAt: this.#now() });
    return { ...message, id: own };
  }

  /** A message of the server as the tunnel gets it; undefined for an answer that nobody waits for (any more). */
  toTunnel(message: FrameMessage): FrameMessage | undefined {
    const { id, method } = message;
    if (method !== undefined) {
      if (id !== undefined) this.#questions.add(id);
      return message;
    }
    const call = this.#calls.get(id as number);
    if (!call) return undefined;
    this.#calls.delete(id as number);
    if (id === this.#initializing) {
      this.#initializing = undefined;
      this.#initialized = message.result as FrameMessage | undefined;
    } else {
      this.#answered++;
      this.#lastMs = this.#now() - call.startedAt;
    }
    return { ...message, id: call.id };
  }

  /** The tunnel is lost: what the server is told, so that it neither works for nobody nor waits for an answer. */
  loseTunnel(): FrameMessage[] {
    const told: FrameMessage[] = [];
    for (const own of this.#calls.keys()) {
      if (own === this.#initializing) continue;
      this.#calls.delete(own);
      told.push(notification('notifications/cancelled', { requestId: own, reason: 'the caller is gone' }));
    }
    for (const id of this.#questions) {
      told.push({ jsonrpc: '2.0', id, error: { code: -32000, message: 'Whoever could answer is gone.' } });
    }
    this.#questions.clear();
    return told;
  }

  #tell(message: FrameMessage): FrameMessage | undefined {
    if (message.method === 'notifications/initialized') {
      if (this.#isConfirmed) return undefined;
      this.#isConfirmed = true;
    }
    if (message.method !== 'notifications/cancelled') return message;
    const params = message.params as { requestId?: unknown } | undefined;
    const [own] = [...this.#calls].find(([, call]) => call.id === params?.requestId) ?? [];
    if (own === undefined) return undefined;
    // No answer need come any more (MCP, Cancellation).
    this.#calls.delete(own);
    return { ...message, params: { ...params, requestId: own } };
  }
}

function notification(method: string, params: object): FrameMessage {
  return { jsonrpc: '2.0', method, params };
}
