import { setTimeout as wait } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { backoffMs } from '../../platform/backoff.ts';
import type { Limits } from '../../platform/limits.ts';
import { BadFrame, type FrameMessage, readFrame } from '../frame.ts';
import { Conversation, type Tally } from './conversation.ts';
import { type Address, dial, type Refusal } from './dial.ts';
import { CannotStart, type LocalServer } from './local-server.ts';

/** What happens, in the order in which it does. */
export type AgentEvent =
  | { event: 'starting'; server: string }
  | { event: 'paired' }
  /** The tunnel is lost, or was not to be had; the next try is in `retryMs`. */
  | { event: 'lost'; reason: string; retryMs: number }
  | { event: 'server_ended'; reason: string; retryMs: number }
  | { event: 'warning'; text: string };

/** Why the agent ended. `code` is that of the server's process, where it has one. */
export type AgentEnd =
  | { kind: 'stopped' }
  | { kind: 'in_use' | 'replaced' | 'gone' | 'forbidden' | 'refused' | 'cannot_start'; message: string }
  | { kind: 'server_ended'; message: string; code: number | undefined };

export interface AgentOptions {
  address: Address;
  server: LocalServer;
  /** Takes the uplink over from another session at first. */
  force: boolean;
  /** Starts a server again that has ended. */
  restart: boolean;
  limits: Limits;
  onEvent: (event: AgentEvent) => void;
}

/** Keeps a local server paired with its connection for as long as it runs. */
export interface Agent {
  /** Runs until `stopping` is aborted, or until there is no use in going on. */
  run(stopping: AbortSignal): Promise<AgentEnd>;
  readonly tally: Tally;
}

/** How a tunnel ended. */
interface Closed {
  kind: 'closed';
  code: number;
  reason: string;
  /** Milliseconds that it lasted. */
  lastedMs: number;
}

/** Builds the agent of one uplink (issue 6). It makes timers of its own, which keep the process alive while it waits. */
export function createAgent(options: AgentOptions): Agent {
  const { address, server, restart, limits, onEvent } = options;
  const now = () => performance.now();
  let conversation = new Conversation(now);
  let socket: WebSocket | undefined;
  /** Set while the server runs; aborted, with why, when it ends. */
  let running: { ended: AbortController; code?: number | undefined } | undefined;

  async function startServer(): Promise<void> {
    conversation = new Conversation(now);
    const started: { ended: AbortController; code?: number | undefined } = { ended: new AbortController() };
    await server.start({
      message: (message) => hear(message),
      warning: (text) => onEvent({ event: 'warning', text }),
      ended(reason, code) {
        started.code = code;
        started.ended.abort(reason);
        // What it was asked will not be answered: whoever waits is told by the end of the tunnel.
        socket?.close(1000, 'the local server ended');
      },
    });
    running = started;
  }

  /** A message of the server goes into the tunnel; without one there is nobody to hear it. */
  function hear(message: FrameMessage): void {
    const passed = conversation.toTunnel(message);
    if (!passed || socket?.readyState !== WebSocket.OPEN) return;
    let text = JSON.stringify(passed);
    if (Buffer.byteLength(text) > limits.uplinkFrameBytes) {
      const problem = `larger than the ${limits.uplinkFrameBytes} bytes that an uplink carries`;
      onEvent({ event: 'warning', text: `a message of the server is ${problem}` });
      if (passed.method !== undefined) return;
      const error = { code: -32603, message: `The answer is ${problem}.` };
      text = JSON.stringify({ jsonrpc: '2.0', id: passed.id, error });
    }
    const current = socket;
    current.send(text, () => {
      if (current.bufferedAmount <= limits.agentBufferedBytes) server.resume();
    });
    if (current.bufferedAmount > limits.agentBufferedBytes) server.pause();
  }

  /** A frame of the tunnel goes to the server. */
  function pass(data: Buffer, current: WebSocket): void {
    let message: FrameMessage;
    try {
      message = readFrame(data, limits.answerDepth);
    } catch (error) {
      if (!(error instanceof BadFrame)) throw error;
      return current.close(1007, error.message);
    }
    const passed = conversation.toServer(message, (reply) => current.send(JSON.stringify(reply)));
    const busy = passed && server.send(passed);
    if (!busy) return;
    current.pause();
    void busy.then(() => current.resume());
  }

  /** Pairs, and stays paired until the tunnel ends. */
  async function pair(force: boolean, stopping: AbortSignal): Promise<Closed | Refusal> {
    const dialled = await dial(address, force, limits, pass);
    if (!(dialled instanceof WebSocket)) return dialled;
    socket = dialled;
    const pairedAt = now();
    const close = () => dialled.close(1000, 'closing');
    if (stopping.aborted || running?.ended.signal.aborted) close();
    else onEvent({ event: 'paired' });
    stopping.addEventListener('abort', close);
    const stopPinging = keepAlive(dialled, limits.uplinkPingMs);
    try {
      const [code, reason] = await closing(dialled, limits.uplinkCloseMs);
      return { kind: 'closed', code, reason, lastedMs: now() - pairedAt };
    } finally {
      stopPinging();
      stopping.removeEventListener('abort', close);
      socket = undefined;
      server.resume();
      for (const told of conversation.loseTunnel()) void server.send(told);
    }
  }

  async function keepPaired(stopping: AbortSignal): Promise<AgentEnd> {
    let wasPaired = false;
    let failures = 0;
    let failingSince = now();
    let serverFailures = 0;
    let serverStartedAt = now();
    /** How long to wait before the next try. */
    const pause = () => {
      const isEager = now() - failingSince < limits.agentEagerForMs;
      const most = isEager ? limits.agentRetryMaxMs : limits.agentRetryPatientMs;
      return backoffMs(++failures, limits.agentRetryMinMs, most);
    };
    while (!stopping.aborted) {
      if (running?.ended.signal.aborted) {
        const reason = String(running.ended.signal.reason);
        if (!restart) return { kind: 'server_ended', message: reason, code: running.code };
        if (now() - serverStartedAt > limits.agentStableMs) serverFailures = 0;
        const retryMs = backoffMs(++serverFailures, limits.agentRetryMinMs, limits.agentRetryPatientMs);
        onEvent({ event: 'server_ended', reason, retryMs });
        await sleep(retryMs, stopping);
        if (stopping.aborted) break;
        serverStartedAt = now();
        await startServer();
      }
      const end = await pair(options.force && !wasPaired, stopping);
      if (stopping.aborted || running?.ended.signal.aborted) continue;
      const final = finalEnd(end, wasPaired);
      if (final) return final;
      if (end.kind === 'closed') {
        wasPaired = true;
        if (end.lastedMs > limits.agentStableMs) failures = 0;
      }
      if (failures === 0) failingSince = now();
      const retryMs = pause();
      onEvent({ event: 'lost', reason: describe(end), retryMs });
      await sleep(retryMs, stopping);
    }
    return { kind: 'stopped' };
  }

  return {
    get tally() {
      return conversation.tally;
    },
    async run(stopping) {
      onEvent({ event: 'starting', server: server.label });
      try {
        await startServer();
        return await keepPaired(stopping);
      } catch (error) {
        if (!(error instanceof CannotStart)) throw error;
        return { kind: 'cannot_start', message: error.message };
      } finally {
        await server.stop();
      }
    },
  };
}

/** The end after which there is no use in trying again; undefined where there is. */
function finalEnd(end: Closed | Refusal, wasPaired: boolean): AgentEnd | undefined {
  if (end.kind === 'unreachable') return undefined;
  if (end.kind === 'closed') {
    if (end.code === 1001 && end.reason === 'replaced') {
      return { kind: 'replaced', message: 'Another session took the uplink over.' };
    }
    return end.code === 1000 && end.reason === 'deleted'
      ? { kind: 'gone', message: 'The connection was deleted.' }
      : undefined;
  }
  switch (end.status) {
    case 401:
    case 403:
      return { kind: 'forbidden', message: end.message };
    case 404:
      return { kind: 'gone', message: end.message };
    case 409:
      // Later it may be our own socket, of which the server does not know yet that it is dead.
      return wasPaired ? undefined : { kind: 'in_use', message: end.message };
    default:
      return end.status < 500 && end.status !== 429 ? { kind: 'refused', message: end.message } : undefined;
  }
}

function describe(end: Closed | Refusal): string {
  if (end.kind === 'unreachable') return end.message;
  if (end.kind === 'refused') return `${end.status}: ${end.message}`;
  if (end.code === 1012) return 'Patchbay restarts';
  return end.reason === '' ? `the tunnel was cut (${end.code})` : end.reason;
}

/** Asks whether the other end is still there, and cuts a socket that has said nothing since the last time. */
function keepAlive(socket: WebSocket, everyMs: number): () => void {
  let isAlive = true;
  const noteLife = () => {
    isAlive = true;
  };
  for (const sign of ['message', 'ping', 'pong']) socket.on(sign, noteLife);
  const timer = setInterval(() => {
    // What is paused hears nothing, and is held back by us.
    if (!isAlive && !socket.isPaused) return socket.terminate();
    isAlive = false;
    if (socket.readyState === WebSocket.OPEN) socket.ping();
  }, everyMs);
  return () => clearInterval(timer);
}

/** Code and reason of its end. One that is being closed gets `closeMs` for the handshake. */
function closing(socket: WebSocket, closeMs: number): Promise<[number, string]> {
  return new Promise((resolve) => {
    if (socket.readyState === WebSocket.CLOSED) return resolve([1006, '']);
    const timer = setInterval(() => {
      if (socket.readyState === WebSocket.CLOSING) socket.terminate();
    }, closeMs);
    socket.once('close', (code, reason) => {
      clearInterval(timer);
      resolve([code, reason.toString('utf8')]);
    });
  });
}

/** Waits, or until `stopping` is aborted. */
async function sleep(ms: number, stopping: AbortSignal): Promise<void> {
  await wait(ms, undefined, { signal: stopping }).catch(() => {});
}
