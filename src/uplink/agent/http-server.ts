import { SdkHttpError, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import type { FrameMessage } from '../frame.ts';
import type { LocalServer, ServerListener } from './local-server.ts';

type Sent = Parameters<StreamableHTTPClientTransport['send']>[0];

/** JSON-RPC error of a local server that does not answer as it should. */
const noAnswer = -32000;

/**
 * A server that runs already, over Streamable HTTP, with the transport of the MCP SDK: each message is a POST of its own, under the
 * server's own Host. Redirects to other origins are not followed.
 */
export function createHttpServer(url: URL): LocalServer {
  let transport: StreamableHTTPClientTransport | undefined;
  let listener: ServerListener | undefined;

  function refuse({ id, method }: FrameMessage, reason: string): void {
    if (id === undefined || method === undefined) return listener?.warning(reason);
    listener?.message({ jsonrpc: '2.0', id, error: { code: noAnswer, message: `${url.host}: ${reason}` } });
  }

  async function post(current: StreamableHTTPClientTransport, message: FrameMessage): Promise<void> {
    const hadSession = current.sessionId !== undefined;
    try {
      await current.send(message as Sent, {
        onRequestStreamEnd: () => refuse(message, 'the answer ended before it was complete'),
      });
    } catch (error) {
      if (current !== transport) return;
      refuse(message, explain(error));
      // A session that the server has forgotten begins anew with initialize (MCP 2025-11-25, Session Management).
      if (hadSession && error instanceof SdkHttpError && error.status === 404) {
        await close();
        listener?.ended('it has forgotten its session', undefined);
      }
    }
  }

  async function close(): Promise<void> {
    const closing = transport;
    transport = undefined;
    if (!closing) return;
    await closing.terminateSession().catch(() => {});
    await closing.close();
  }

  return {
    label: url.href,

    async start(heard) {
      const started = new StreamableHTTPClientTransport(url, { redirectPolicy: 'same-origin' });
      listener = heard;
      started.onmessage = (message) => {
        if (started !== transport) return;
        const { result } = message as { result?: { protocolVersion?: unknown } };
        // Of initialize alone: each later request names the revision.
        if (typeof result?.protocolVersion === 'string') started.setProtocolVersion(result.protocolVersion);
        heard.message(message as FrameMessage);
      };
      await started.start();
      transport = started;
    },

    send(message) {
      if (transport) void post(transport, message);
      return undefined;
    },

    // Answers come in requests of their own, each read at once.
    pause: () => {},
    resume: () => {},
    stop: close,
  };
}

function explain(error: unknown): string {
  if (error instanceof SdkHttpError) return `it answered ${error.status}`;
  const { message, cause } = error as Error & { cause?: { code?: string } };
  if (cause?.code === 'ECONNREFUSED') return 'nothing listens there';
  return cause?.code ?? message;
}
