import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { until } from '../../../test/fixtures/until.ts';
import { defaultLimits } from '../../platform/limits.ts';
import type { FrameMessage } from '../frame.ts';
import { type AgentEnd, type AgentEvent, createAgent } from './agent.ts';
import type { LocalServer, ServerListener } from './local-server.ts';

const limits = {
  ...defaultLimits,
  uplinkPingMs: 100,
  uplinkCloseMs: 100,
  agentRetryMinMs: 5,
  agentRetryMaxMs: 20,
};

/** What the hub does with the next handshakes: a status refuses; then all are taken. */
let refusals: number[];
let handshakes: IncomingMessage[];
let tunnels: WebSocket[];
let http: Server;
let hub: WebSocketServer;
let stopping: AbortController;
let running: Promise<AgentEnd> | undefined;

beforeEach(async () => {
  refusals = [];
  handshakes = [];
  tunnels = [];
  stopping = new AbortController();
  running = undefined;
  http = createServer();
  hub = new WebSocketServer({ noServer: true, autoPong: true });
  http.on('upgrade', (request, socket, head) => {
    handshakes.push(request);
    const status = refusals.shift();
    if (status !== undefined) {
      const body = '{"error":"refused","message":"Not now."}';
      socket.end(
        `HTTP/1.1 ${status} X\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
      );
      return;
    }
    hub.handleUpgrade(request, socket, head, (tunnel) => tunnels.push(tunnel));
  });
  await new Promise<void>((resolve) => {
    http.listen(0, '127.0.0.1', resolve);
  });
});
afterEach(async () => {
  stopping.abort();
  await running;
  hub.close();
  http.closeAllConnections();
  http.close();
});

/** A local server under the test's hand. */
class Puppet implements LocalServer {
  readonly label = 'puppet';
  readonly received: FrameMessage[] = [];
  listener: ServerListener | undefined;
  starts = 0;
  isStopped = false;
  async start(listener: ServerListener): Promise<void> {
    this.listener = listener;
    this.starts++;
  }
  send(message: FrameMessage): undefined {
    this.received.push(message);
  }
  pause(): void {}
  resume(): void {}
  async stop(): Promise<void> {
    this.isStopped = true;
  }
}

function start(options: { force?: boolean; restart?: boolean } = {}) {
  const server = new Puppet();
  const events: AgentEvent[] = [];
  const { port } = http.address() as AddressInfo;
  const agent = createAgent({
    address: {
      origin: new URL(`http://127.0.0.1:${port}`),
      namespace: 'ns',
      connectionId: 'a b/ü',
      key: 'the-key',
    },
    server,
    force: false,
    restart: true,
    limits,
    onEvent: (event) => events.push(event),
    ...options,
  });
  running = agent.run(stopping.signal);
  const count = (name: string) => events.filter(({ event }) => event === name).length;
  return { server, events, count, ended: running, tally: () => agent.tally };
}

const tunnel = (n = 1) => until(() => tunnels[n - 1]);
const rpc = (message: object) => JSON.stringify({ jsonrpc: '2.0', ...message });

describe('an agent', () => {
  it('pairs at the path of its connection with its key, and takes over only where it is told to', async () => {
    const { count } = start();
    await until(() => count('paired') === 1);
    expect(handshakes[0]?.url).toBe('/uplink/ns/a%20b/%C3%BC');
    expect(handshakes[0]?.headers.authorization).toBe('Bearer the-key');
    stopping.abort();
    await running;
    stopping = new AbortController();
    const forced = start({ force: true });
    await until(() => forced.count('paired') === 1);
    expect(handshakes[1]?.url).toBe('/uplink/ns/a%20b/%C3%BC?force=1');
    tunnels[1]?.terminate();
    await until(() => forced.count('paired') === 2);
    expect(handshakes[2]?.url).not.toContain('force');
  });

  it('comes back whatever is wrong for a while, once it was paired', async () => {
    const { count, events } = start();
    const first = await tunnel();
    refusals = [503, 409, 500, 429];
    first.close(1012, 'restart');
    await until(() => count('paired') === 2);
    const reasons = events.flatMap((event) => (event.event === 'lost' ? [event.reason] : []));
    expect(reasons).toEqual([
      'Patchbay restarts',
      '503: Not now.',
      '409: Not now.',
      '500: Not now.',
      '429: Not now.',
    ]);
    for (const event of events) if (event.event === 'lost') expect(event.retryMs).toBeLessThanOrEqual(20);
  });

  it.each([
    [401, 'forbidden'],
    [403, 'forbidden'],
    [404, 'gone'],
    [400, 'refused'],
  ])('gives up at %d, at the start and later', async (status, kind) => {
    refusals = [status];
    expect(await start().ended).toEqual({ kind, message: 'Not now.' });
    const { ended } = start();
    const paired = await tunnel();
    refusals = [status];
    paired.terminate();
    expect(await ended).toMatchObject({ kind });
  });

  it.each([
    [1001, 'replaced', 'replaced'],
    [1000, 'deleted', 'gone'],
  ])('ends where the tunnel is closed with %d %s', async (code, reason, kind) => {
    const { ended, server } = start();
    (await tunnel()).close(code, reason);
    expect(await ended).toMatchObject({ kind });
    expect(server.isStopped).toBe(true);
  });

  it('cuts a tunnel that answers no ping, and one that sends what is no message', async () => {
    hub.options.autoPong = false;
    const { count } = start();
    await until(() => count('paired') === 1);
    hub.options.autoPong = true;
    await until(() => count('paired') === 2);
    const second = await tunnel(2);
    const closed = new Promise((resolve) => second.once('close', resolve));
    second.send('no JSON');
    expect(await closed).toBe(1007);
    await until(() => count('paired') === 3);
  });

  it('gives the answers of the server to the tunnel that asked, and cancels what a lost one had asked', async () => {
    const { server, count, tally } = start();
    const first = await tunnel();
    first.send(rpc({ id: 1, method: 'tools/call' }));
    const asked = await until(() => server.received[0]);
    expect(tally()).toMatchObject({ open: 1 });
    first.terminate();
    await until(() => count('paired') === 2);
    expect(server.received[1]).toMatchObject({
      method: 'notifications/cancelled',
      params: { requestId: asked.id },
    });
    const second = await tunnel(2);
    const heard: unknown[] = [];
    second.on('message', (data) => heard.push(JSON.parse(String(data))));
    server.listener?.message({ jsonrpc: '2.0', id: asked.id, result: { late: true } });
    second.send(Buffer.from(rpc({ id: 1, method: 'tools/list' })));
    const again = await until(() => server.received[2]);
    server.listener?.message({ jsonrpc: '2.0', id: again.id, result: { tools: [] } });
    await until(() => heard.length > 0);
    expect(heard).toEqual([{ jsonrpc: '2.0', id: 1, result: { tools: [] } }]);
    expect(tally()).toMatchObject({ open: 0, answered: 1 });
  });

  it('starts a server again that has ended, and pairs anew, so that nobody waits for its answers', async () => {
    const { server, count, events } = start();
    const first = await tunnel();
    const closed = new Promise((resolve) => first.once('close', resolve));
    server.listener?.ended('it ended with 3', 3);
    await closed;
    await until(() => count('paired') === 2);
    expect(server.starts).toBe(2);
    expect(events).toContainEqual({
      event: 'server_ended',
      reason: 'it ended with 3',
      retryMs: expect.any(Number),
    });
  });

  it('ends with its server where it is not to start it again', async () => {
    const { server, ended } = start({ restart: false });
    await tunnel();
    server.listener?.ended('it ended with 3', 3);
    expect(await ended).toEqual({ kind: 'server_ended', message: 'it ended with 3', code: 3 });
  });

  it('stops at once, paired or not, with the handshake of a clean end', async () => {
    const { ended } = start();
    const first = await tunnel();
    const closed = new Promise((resolve) =>
      first.once('close', (code, reason) => resolve([code, String(reason)])),
    );
    stopping.abort();
    expect(await ended).toEqual({ kind: 'stopped' });
    expect(await closed).toEqual([1000, 'closing']);
    stopping = new AbortController();
    refusals = Array.from({ length: 1_000 }, () => 503);
    const lost = start();
    await until(() => lost.count('lost') > 2);
    stopping.abort();
    expect(await lost.ended).toEqual({ kind: 'stopped' });
  });
});
