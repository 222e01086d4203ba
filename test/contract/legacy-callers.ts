import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as FirstClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as FirstTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';

type Params = Record<string, unknown>;

export interface CallerOptions {
  capabilities?: Params;
  /** What the caller answers a request of the server with, by method. */
  answers?: Record<string, (params: Params) => unknown>;
}

/** A client of the MCP SDK in a session, the same to use whichever edition it is of. */
export interface LegacyCaller {
  sessionId: () => string | undefined;
  serverName: () => string | undefined;
  listTools: () => Promise<string[]>;
  /** The text of the tool's result. */
  call: (name: string, args?: Params, onProgress?: (progress: number) => void) => Promise<string>;
  setLoggingLevel: (level: 'debug' | 'warning') => Promise<unknown>;
  subscribe: (uri: string) => Promise<unknown>;
  announceRoots: () => Promise<void>;
  /** The params of every notification of `method` so far. */
  heard: (method: string) => Params[];
  /** Every message that it sent, as bytes. */
  sent: string[];
  terminate: () => Promise<void>;
  close: () => Promise<void>;
}

export type ConnectCaller = (url: string, key: string, options?: CallerOptions) => Promise<LegacyCaller>;

/** The two editions of the SDK's client, each as a user gets it: the legacy era is the default of both. */
export const editions: { edition: string; connectCaller: ConnectCaller }[] = [
  { edition: '@modelcontextprotocol/client', connectCaller: connectSecond },
  { edition: '@modelcontextprotocol/sdk', connectCaller: connectFirst },
];

const info = { name: 'contract', version: '1.0.0' };
const reconnectionOptions = {
  initialReconnectionDelay: 10,
  maxReconnectionDelay: 50,
  reconnectionDelayGrowFactor: 1.5,
  maxRetries: 20,
};

async function connectSecond(url: string, key: string, options: CallerOptions = {}): Promise<LegacyCaller> {
  const client = new Client(info, { capabilities: options.capabilities ?? {} });
  const { heard, sent, fetch } = listen(client, options);
  const requestInit = { headers: { authorization: `Bearer ${key}` } };
  const transport = new StreamableHTTPClientTransport(new URL(url), {
    requestInit,
    fetch,
    reconnectionOptions,
  });
  await client.connect(transport);
  return {
    sessionId: () => transport.sessionId,
    serverName: () => client.getServerVersion()?.name,
    listTools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args = {}, onProgress) =>
      textOf(
        await client.callTool(
          { name, arguments: args },
          { ...(onProgress && { onprogress: ({ progress }: { progress: number }) => onProgress(progress) }) },
        ),
      ),
    setLoggingLevel: (level) => client.setLoggingLevel(level),
    subscribe: (uri) => client.subscribeResource({ uri }),
    announceRoots: () => client.sendRootsListChanged(),
    heard: (method) => heard.filter((one) => one.method === method).map(({ params }) => params ?? {}),
    sent,
    terminate: () => transport.terminateSession(),
    close: () => client.close(),
  };
}

async function connectFirst(url: string, key: string, options: CallerOptions = {}): Promise<LegacyCaller> {
  const client = new FirstClient(info, { capabilities: options.capabilities ?? {} });
  const { heard, sent, fetch } = listen(client, options);
  const requestInit = { headers: { authorization: `Bearer ${key}` } };
  const transport = new FirstTransport(new URL(url), { requestInit, fetch, reconnectionOptions });
  // The SDK's transport and its interface disagree under exactOptionalPropertyTypes.
  await client.connect(transport as Transport);
  return {
    sessionId: () => transport.sessionId,
    serverName: () => client.getServerVersion()?.name,
    listTools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args = {}, onProgress) =>
      textOf(
        await client.callTool({ name, arguments: args }, undefined, {
          ...(onProgress && { onprogress: ({ progress }: { progress: number }) => onProgress(progress) }),
        }),
      ),
    setLoggingLevel: (level) => client.setLoggingLevel(level),
    subscribe: (uri) => client.subscribeResource({ uri }),
    announceRoots: () => client.sendRootsListChanged(),
    heard: (method) => heard.filter((one) => one.method === method).map(({ params }) => params ?? {}),
    sent,
    terminate: () => transport.terminateSession(),
    close: () => client.close(),
  };
}

interface Heard {
  method: string;
  params?: Params | undefined;
}

/** Keeps what a client hears and sends, and lets it answer the server. */
function listen(
  client: {
    fallbackNotificationHandler?: ((notification: Heard) => Promise<void>) | undefined;
    // biome-ignore lint/suspicious/noExplicitAny: the two editions name the same types differently
    fallbackRequestHandler?: ((request: any, context: any) => Promise<any>) | undefined;
  },
  { answers = {} }: CallerOptions,
): { heard: Heard[]; sent: string[]; fetch: typeof fetch } {
  const heard: Heard[] = [];
  const sent: string[] = [];
  client.fallbackNotificationHandler = async (notification) => void heard.push(notification);
  client.fallbackRequestHandler = async ({ method, params = {} }) => {
    const answer = answers[method];
    if (!answer) throw new Error(`nobody answers ${method}`);
    return answer(params);
  };
  return {
    heard,
    sent,
    fetch: (input, init) => {
      if (typeof init?.body === 'string') sent.push(init.body);
      return fetch(input, init);
    },
  };
}

function textOf(result: unknown): string {
  const { content } = result as { content: { text?: string }[] };
  return content.map((part) => part.text ?? '').join('\n');
}
