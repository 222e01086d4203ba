import { WebSocket } from 'ws';
import type { Limits } from '../../platform/limits.ts';

/** Where and as whom the agent pairs. */
export interface Address {
  /** Origin of the Patchbay server. */
  origin: URL;
  namespace: string;
  connectionId: string;
  key: string;
}

/** How an attempt to pair ended that did not get a tunnel. */
export type Refusal =
  | { kind: 'refused'; status: number; message: string }
  | { kind: 'unreachable'; message: string };

const maxBodyChars = 4_000;

/** Opens the tunnel of an uplink (api.md §7). Messages are heard from the first one on by `onMessage`. */
export function dial(
  { origin, namespace, connectionId, key }: Address,
  force: boolean,
  limits: Limits,
  onMessage: (data: Buffer, socket: WebSocket) => void,
): Promise<WebSocket | Refusal> {
  const path = [namespace, ...connectionId.split('/')].map(encodeURIComponent).join('/');
  const url = new URL(`/uplink/${path}${force ? '?force=1' : ''}`, origin);
  url.protocol = origin.protocol === 'https:' ? 'wss:' : 'ws:';
  const socket = new WebSocket(url, {
    headers: { authorization: `Bearer ${key}` },
    perMessageDeflate: false,
    maxPayload: limits.uplinkFrameBytes,
    handshakeTimeout: limits.agentHandshakeMs,
  });
  socket.on('message', (data) => onMessage(data as Buffer, socket));
  return new Promise((resolve) => {
    socket.once('open', () => resolve(socket));
    socket.once('unexpected-response', (_request, response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        if (text.length < maxBodyChars) text += chunk;
      });
      response.on('close', () => {
        resolve({ kind: 'refused', status: response.statusCode ?? 0, message: messageOf(text) });
        socket.terminate();
      });
    });
    // Also what goes wrong later, which ends the socket by itself.
    socket.on('error', (error: NodeJS.ErrnoException) => {
      resolve({ kind: 'unreachable', message: explain(error, origin) });
    });
  });
}

/** The message of an error of the API. */
function messageOf(text: string): string {
  try {
    const { message, error } = JSON.parse(text) as { message?: unknown; error?: unknown };
    return String(message ?? error ?? text);
  } catch {
    return text.slice(0, 200);
  }
}

/** What is wrong when no answer comes at all. */
export function explain(error: Error, { host }: URL): string {
  const { code, message } = (error.cause ?? error) as NodeJS.ErrnoException;
  switch (code) {
    case 'ECONNREFUSED':
      return `nothing listens at ${host}`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `there is no host ${host}`;
    default:
      return code ?? message;
  }
}
