import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Pool } from 'undici';
import { createDuties, readReferenceConfig, reportReady } from './duties.ts';

/**
 * The reference of the 1.3× target: node:http and undici's `pool.request`, written the way one writes it by
 * hand, with the gateway's minimal duties and nothing else.
 */
const config = readReferenceConfig();
const duties = createDuties(config);
const pools = new Map<string, Pool>();

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    passThrough(request, Buffer.concat(chunks), response).catch((error: unknown) => {
      console.error(error);
      response.destroy();
    });
  });
});

async function passThrough(request: IncomingMessage, body: Buffer, response: ServerResponse): Promise<void> {
  if (!duties.isAuthorized(request.headers.authorization)) {
    response.writeHead(401).end();
    return;
  }
  // /connect/{namespace}/{connectionId}/mcp
  const connectionId = request.url?.split('/')[3] ?? '';
  const route = duties.routeOf(connectionId);
  if (!route || !duties.isRequest(body)) {
    response.writeHead(400).end();
    return;
  }
  const answer = await poolOf(route.origin).request({
    path: route.path,
    method: 'POST',
    headers: duties.headersFor(route, request.headers),
    body,
  });
  duties.note(connectionId, answer.statusCode);
  response.writeHead(answer.statusCode, duties.answerHeaders(answer.headers as IncomingHttpHeaders));
  answer.body.pipe(response);
}

function poolOf(origin: string): Pool {
  let pool = pools.get(origin);
  if (!pool) {
    pool = new Pool(origin, { connections: 1024, pipelining: 1 });
    pools.set(origin, pool);
  }
  return pool;
}

server.listen(0, '127.0.0.1', () => reportReady((server.address() as AddressInfo).port));
