import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import Fastify from 'fastify';
import { type Dispatcher, Pool } from 'undici';
import { createDuties, readReferenceConfig, reportReady } from './duties.ts';

/**
 * What the frameworks that Patchbay stands on cost when nothing is added: for `tools/call` a bare Fastify route
 * whose upstream answer streams from undici's `dispatch` straight to the socket, with the same duties as the
 * pass-through; for GET a bare JSON route.
 */
const config = readReferenceConfig();
const duties = createDuties(config);
const pools = new Map<string, Pool>();
const app = Fastify();

app.removeAllContentTypeParsers();
app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) =>
  done(null, body),
);

interface Params {
  namespace: string;
  connectionId: string;
}

app.post<{ Params: Params; Body: Buffer }>('/connect/:namespace/:connectionId/mcp', (request, reply) => {
  reply.hijack();
  const route = duties.routeOf(request.params.connectionId);
  if (!duties.isAuthorized(request.headers.authorization) || !route || !duties.isRequest(request.body)) {
    reply.raw.writeHead(400).end();
    return;
  }
  poolOf(route.origin).dispatch(
    {
      path: route.path,
      method: 'POST',
      headers: duties.headersFor(route, request.headers),
      body: request.body,
    },
    new Streamer(reply.raw, request.params.connectionId),
  );
});

app.get('/connect/:namespace/:connectionId', (_request, reply) => {
  reply.send(config.view);
});

class Streamer implements Dispatcher.DispatchHandler {
  readonly #response: ServerResponse;
  readonly #connectionId: string;

  constructor(response: ServerResponse, connectionId: string) {
    this.#response = response;
    this.#connectionId = connectionId;
  }

  onRequestStart(): void {}

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
  ): void {
    duties.note(this.#connectionId, status);
    this.#response.writeHead(status, duties.answerHeaders(headers));
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#response.write(chunk)) return;
    controller.pause();
    this.#response.once('drain', () => controller.resume());
  }

  onResponseEnd(): void {
    this.#response.end();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    console.error(error);
    this.#response.destroy();
  }
}

function poolOf(origin: string): Pool {
  let pool = pools.get(origin);
  if (!pool) {
    pool = new Pool(origin, { connections: 1024, pipelining: 1 });
    pools.set(origin, pool);
  }
  return pool;
}

await app.listen({ host: '127.0.0.1', port: 0 });
reportReady((app.server.address() as AddressInfo).port);
