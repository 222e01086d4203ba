import type { RpcAnswer } from '../../mcp/answer.ts';
import { askingMethods, fieldsOf, isFields, questions } from '../../mcp/era-messages.ts';
import { clientInfo, type RequestId } from '../../mcp/message.ts';
import { latestLegacyRevision } from '../../mcp/revisions.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Limits } from '../../platform/limits.ts';
import type { FrameMessage } from '../../uplink/frame.ts';
import { closings, type Tunnel } from '../../uplink/tunnel.ts';
import { type ChangeFeed, isChange } from '../change-feed.ts';
import { faultOfError } from '../fault.ts';
import { type Agreement, initializeParams, readAgreement } from '../initialize.ts';
import type { LegacyClient, SessionRequest, UpstreamMessage } from '../legacy-session.ts';
import { SessionLost } from '../legacy-session.ts';
import { PendingRequests } from '../pending.ts';
import { UplinkFull, UplinkLost } from './faults.ts';

/** Who has a session with the server, as the peer needs to know it. */
export interface Member {
  readonly capabilities: Record<string, unknown>;
  /** Whether it hears of changes at the server, which the feed is told of in any case. */
  readonly hearsChanges: boolean;
  /** Takes what the server says outside of answers and progress. */
  hear(message: UpstreamMessage): void;
}

/**
 * What can be asked of callers, as the server is told. It is told once, for callers of every kind: who cannot be asked is
 * refused when the question comes.
 */
const client: LegacyClient = {
  revision: latestLegacyRevision,
  capabilities: { elicitation: { form: {}, url: {} }, roots: { listChanged: true }, sampling: {} },
  clientInfo,
};

/** The capability by which a client says that it can be asked (MCP 2025-11-25, basic/lifecycle). */
const capabilityOf: Readonly<Record<string, string>> = {
  'elicitation/create': 'elicitation',
  'roots/list': 'roots',
  'sampling/createMessage': 'sampling',
};

const methodNotFound = { code: -32601, message: 'Method not found' };
const nobodyToAsk = { code: -32601, message: 'No client that can be asked this has a call under way.' };
const severalToAsk = {
  code: -32603,
  message: 'Several clients that can be asked this have calls under way, and nothing says which is meant.',
};
const clientGone = { code: -32603, message: 'The client that was asked has gone.' };

/**
 * The MCP server at the other end of a tunnel. It knows one client, while many callers have sessions here: so requests and
 * progress travel under ids of ours, and what the server asks goes to the one caller that it can mean, or to none.
 */
export class Peer {
  /** Messages that a member may not have taken yet. */
  readonly maxUnheard: number;
  readonly #tunnel: Tunnel;
  readonly #feed: ChangeFeed;
  readonly #pending: PendingRequests;
  readonly #agreed = Promise.withResolvers<Agreement>();
  /** The calls of each member that may make the server ask back. */
  readonly #calls = new Map<Member, number>();
  readonly #members = new Set<Member>();
  /** Whom a question of the server that is not answered yet went to. */
  readonly #asked = new Map<RequestId, Member>();
  #underWay = 0;
  readonly #idle: (() => void)[] = [];

  /** Introduces us to the server at once, and again until it answers: early frames are lost there (api.md §7). */
  constructor(tunnel: Tunnel, clock: Clock, limits: Limits, feed: ChangeFeed) {
    this.maxUnheard = limits.uplinkUnheard;
    this.#tunnel = tunnel;
    this.#feed = feed;
    this.#pending = new PendingRequests(limits.uplinkRequests);
    this.#agreed.promise.catch(() => {});
    tunnel.listen((message) => this.#receive(message));
    this.ended.addEventListener('abort', () => this.#end());
    this.#introduce(clock, limits);
  }

  get ended(): AbortSignal {
    return this.#tunnel.ended;
  }

  /** What the server answered to `initialize`. Rejects with SessionLost when the tunnel ends before. */
  get agreed(): Promise<Agreement> {
    return this.#agreed.promise;
  }

  /** Resolves when no call waits for its answer, now or later. */
  whenIdle(): Promise<void> {
    if (this.#underWay === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  join(member: Member): void {
    this.#members.add(member);
  }

  leave(member: Member): void {
    this.#members.delete(member);
    for (const [id, asked] of this.#asked) if (asked === member) this.#answer(id, { error: clientGone });
  }

  /** Sends the request of a member. Throws SessionLost and UpstreamFault. */
  async ask(member: Member, request: SessionRequest): Promise<RpcAnswer> {
    const { method, signal } = request;
    this.requireAlive();
    if (signal.aborted) throw faultOfError(signal.reason);
    const { id, params, answer } = this.#pending.add(request);
    const abandoned = Promise.withResolvers<never>();
    const abandon = () => {
      abandoned.reject(faultOfError(signal.reason));
      this.#tunnel.send(cancelled(id));
    };
    const end = askingMethods.has(method) ? this.#begin(member) : () => {};
    this.#underWay++;
    signal.addEventListener('abort', abandon);
    try {
      this.send({ id, method, ...(params && { params }) });
      return await Promise.race([answer, abandoned.promise]);
    } finally {
      signal.removeEventListener('abort', abandon);
      end();
      this.#pending.remove(id);
      this.#underWay--;
      if (this.#underWay === 0) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  /** Sends what has no answer. Throws SessionLost and UplinkFull. */
  send(message: Record<string, unknown>): void {
    this.requireAlive();
    if (!this.#tunnel.send({ jsonrpc: '2.0', ...message })) throw new UplinkFull();
  }

  /** Answers a question of the server, if it was put to `member` and is still open. Throws like `send`. */
  respond(member: Member, id: RequestId, answer: { result: unknown } | { error: unknown }): void {
    if (this.#asked.get(id) === member) this.#answer(id, answer);
  }

  /** Throws SessionLost once the tunnel has ended. */
  requireAlive(): void {
    if (this.ended.aborted) throw new SessionLost();
  }

  #introduce(clock: Clock, limits: Limits): void {
    const never = new AbortController().signal;
    const request = {
      method: 'initialize',
      params: initializeParams(client),
      onMessage: () => {},
      signal: never,
    };
    const { id, params, answer } = this.#pending.add(request);
    let waitMs = limits.uplinkInitializeMinMs;
    let cancel = () => {};
    const send = () => {
      this.#tunnel.send({ jsonrpc: '2.0', id, method: 'initialize', params });
      cancel = clock.after(waitMs, send);
      waitMs = Math.min(waitMs * 2, limits.uplinkInitializeMaxMs);
    };
    send();
    answer
      .then((answered) => {
        const agreement = readAgreement(answered);
        this.#tunnel.send({ jsonrpc: '2.0', method: 'notifications/initialized' });
        this.#agreed.resolve(agreement);
      })
      .catch(() => {
        this.#agreed.reject(new SessionLost());
        this.#tunnel.close(closings.refused);
      })
      .finally(() => {
        cancel();
        this.#pending.remove(id);
      });
  }

  #begin(member: Member): () => void {
    this.#calls.set(member, (this.#calls.get(member) ?? 0) + 1);
    return () => {
      const left = (this.#calls.get(member) ?? 1) - 1;
      if (left === 0) this.#calls.delete(member);
      else this.#calls.set(member, left);
    };
  }

  #receive(message: FrameMessage): void {
    const { method, id } = message;
    if (typeof method !== 'string') return this.#pending.settle(message);
    const said: UpstreamMessage = { method, ...(isFields(message.params) && { params: message.params }) };
    if (typeof id === 'string' || typeof id === 'number') this.#route({ ...said, id });
    else if (method === 'notifications/progress') this.#pending.progress(said);
    else if (method === 'notifications/cancelled') this.#withdraw(said);
    else if (isChange(said)) this.#tellAll(said);
    // Whatever else it says, such as logs, is of some call: it is told where only one caller can be meant.
    else if (this.#calls.size === 1) for (const member of this.#calls.keys()) member.hear(said);
  }

  #route(question: UpstreamMessage & { id: RequestId }): void {
    const { id, method } = question;
    if (method === 'ping') return void this.#reply(id, { result: {} });
    if (!questions.has(method)) return void this.#reply(id, { error: methodNotFound });
    const capability = capabilityOf[method] as string;
    const able = [...this.#calls.keys()].filter(({ capabilities }) => capabilities[capability] !== undefined);
    const [member] = able;
    if (!member) return void this.#reply(id, { error: nobodyToAsk });
    if (able.length > 1) return void this.#reply(id, { error: severalToAsk });
    this.#asked.set(id, member);
    member.hear(question);
  }

  #withdraw(message: UpstreamMessage): void {
    const id = fieldsOf(message.params).requestId as RequestId;
    this.#asked.get(id)?.hear(message);
    this.#asked.delete(id);
  }

  #tellAll(change: UpstreamMessage): void {
    this.#feed.tell(this.#tunnel.uid, change);
    for (const member of this.#members) if (member.hearsChanges) member.hear(change);
  }

  #answer(id: RequestId, answer: { result: unknown } | { error: unknown }): void {
    this.#asked.delete(id);
    this.#reply(id, answer);
  }

  /** A server that does not take answers as fast as it asks goes without. */
  #reply(id: RequestId, answer: { result: unknown } | { error: unknown }): void {
    this.#tunnel.send({ jsonrpc: '2.0', id, ...answer });
  }

  #end(): void {
    this.#pending.failAll(new UplinkLost());
    this.#asked.clear();
  }
}

function cancelled(id: number): FrameMessage {
  const params = { requestId: id, reason: 'The caller went away.' };
  return { jsonrpc: '2.0', method: 'notifications/cancelled', params };
}
