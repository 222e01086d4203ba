import { type RpcAnswer, readAnswer } from '../mcp/answer.ts';
import { ApiError } from '../platform/errors.ts';
import { UpstreamFault } from './fault.ts';
import type { SessionRequest, UpstreamMessage } from './legacy-session.ts';

/** A request as it travels. */
export interface Sent {
  id: number;
  params: Record<string, unknown> | undefined;
  answer: Promise<RpcAnswer>;
}

interface Waiting {
  resolve: (answer: RpcAnswer) => void;
  reject: (fault: UpstreamFault) => void;
  onMessage: SessionRequest['onMessage'];
  /** Whether it is still taking the last news of progress. */
  isBusy: boolean;
  /** What the caller called the progress that it wants to hear of; undefined if it wants none. */
  token: string | number | undefined;
}

/**
 * The unanswered requests of one session. Callers may share it, and its one stream carries the answers of all: so
 * requests get ids of ours, and are told apart by nothing else. The id is the progress token too, as in the
 * MCP SDK. Both are numbers, which every server takes.
 */
export class PendingRequests {
  readonly #waiting = new Map<number, Waiting>();
  readonly #max: number;
  #lastId = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** An id that no request of the session has. */
  nextId(): number {
    return ++this.#lastId;
  }

  /** Waits for the answer to a request until `remove`. Throws UpstreamFault `busy` if as many wait as may. */
  add({ params, onMessage }: SessionRequest): Sent {
    if (this.#waiting.size >= this.#max) throw new SessionFull();
    const id = this.nextId();
    const { promise, resolve, reject } = Promise.withResolvers<RpcAnswer>();
    const token = progressToken(params);
    this.#waiting.set(id, { resolve, reject, onMessage, isBusy: false, token });
    const meta = token === undefined ? undefined : { ...(params?._meta as object), progressToken: id };
    return { id, params: meta ? { ...params, _meta: meta } : params, answer: promise };
  }

  /** What comes to it from now on goes to nobody. */
  remove(id: number): void {
    this.#waiting.delete(id);
  }

  /** Hands a JSON-RPC response to the request that it answers. */
  settle(response: Record<string, unknown>): void {
    const { id } = response;
    const waiting = typeof id === 'number' ? this.#waiting.get(id) : undefined;
    if (!waiting) return;
    const answer = readAnswer(response, id as number);
    if (answer) waiting.resolve(answer);
    else waiting.reject(new UpstreamFault('wrong_answer', 'upstream answered JSON that is no JSON-RPC'));
  }

  /**
   * Hands on news of progress, under the caller's own token, to the request that asked for them. One that takes them more
   * slowly than they come misses some: the stream is that of the others too, and each news makes the last one old.
   */
  progress({ method, params }: UpstreamMessage): void {
    const waiting = this.#waiting.get(params?.progressToken as number);
    if (waiting?.token === undefined || waiting.isBusy) return;
    const taken = waiting.onMessage({ method, params: { ...params, progressToken: waiting.token } });
    if (!taken) return;
    waiting.isBusy = true;
    const free = () => {
      waiting.isBusy = false;
    };
    taken.then(free, free);
  }

  failAll(fault: UpstreamFault): void {
    for (const { reject } of this.#waiting.values()) reject(fault);
  }
}

/** The calls of one session that wait are as many as may; another one was not sent. */
class SessionFull extends UpstreamFault {
  constructor() {
    super('busy', 'too many calls wait for this upstream');
  }

  override toApiError(): ApiError {
    return new ApiError('rate_limited', { message: 'Too many calls wait for this upstream.' });
  }
}

function progressToken(params: Record<string, unknown> | undefined): string | number | undefined {
  const token = (params?._meta as { progressToken?: unknown } | null | undefined)?.progressToken;
  return typeof token === 'string' || typeof token === 'number' ? token : undefined;
}
