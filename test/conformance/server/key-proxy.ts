import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream';

/** A proxy in front of Patchbay. */
export interface KeyProxy {
  port: number;
  close(): Promise<void>;
}

/**
 * Starts a proxy on loopback that adds `key` to every request to `origin` and changes nothing else: the suite sends
 * no credentials, and Patchbay has no mode without. Host and Origin pass, because who judges them is under test;
 * bytes pass as they come, and who goes away is gone on the other side too.
 */
export async function startKeyProxy(origin: string, key: string): Promise<KeyProxy> {
  const { hostname, port } = new URL(origin);
  const agent = new Agent({ keepAlive: true });
  const server = createServer((asked, answer) => {
    const headers = [...asked.rawHeaders, 'Authorization', `Bearer ${key}`];
    pass(asked, answer, { hostname, port, agent, headers, setHost: false });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      const closed = new Promise((resolve) => {
        server.close(resolve);
      });
      server.closeAllConnections();
      agent.destroy();
      await closed;
    },
  };
}

function pass(
  asked: IncomingMessage,
  answer: ServerResponse,
  options: { hostname: string; port: string; agent: Agent; headers: string[]; setHost: false },
): void {
  const { method, url: path } = asked;
  const passed = request({ ...options, method, path }, (answered) => {
    answer.writeHead(answered.statusCode ?? 502, answered.rawHeaders);
    // The headers of a stream come before its first event.
    answer.flushHeaders();
    pipeline(answered, answer, () => {});
  });
  passed.once('error', () => answer.destroy());
  answer.once('close', () => passed.destroy());
  pipeline(asked, passed, () => {});
}
