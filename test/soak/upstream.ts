import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { reportReady } from '../bench/duties.ts';

/**
 * The upstream of the soak: a modern server (2026-07-28) whose tool `long` reports progress every second and answers
 * when `seconds` have passed; `quick` answers at once.
 */
const revision = '2026-07-28';

interface Message {
  id: string | number;
  method: string;
  params?: { name?: string; arguments?: { seconds?: number } };
}

const discovered = {
  resultType: 'complete',
  supportedVersions: [revision],
  capabilities: { tools: {} },
  ttlMs: 0,
  cacheScope: 'private',
  _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'soak', version: '1.0.0' } },
};
const called = { resultType: 'complete', content: [{ type: 'text', text: 'done' }] };

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    if (request.method !== 'POST') return void response.writeHead(405).end();
    answer(JSON.parse(Buffer.concat(chunks).toString('utf8')) as Message, response);
  });
});

function answer({ id, method, params }: Message, response: ServerResponse): void {
  if (method === 'server/discover') return sendJson(response, { id, result: discovered });
  if (method !== 'tools/call') return sendJson(response, { id, error: { code: -32601, message: method } });
  if (params?.name === 'quick') return sendJson(response, { id, result: called });
  reportProgress(response, id, params?.arguments?.seconds ?? 0);
}

function sendJson(response: ServerResponse, message: Record<string, unknown>): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ jsonrpc: '2.0', ...message }));
}

function reportProgress(response: ServerResponse, id: Message['id'], seconds: number): void {
  const send = (message: Record<string, unknown>) =>
    response.write(`data: ${JSON.stringify({ jsonrpc: '2.0', ...message })}\n\n`);
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  let progress = 0;
  const timer = setInterval(() => {
    progress++;
    send({ method: 'notifications/progress', params: { progressToken: 'long', progress, total: seconds } });
    if (progress < seconds) return;
    clearInterval(timer);
    send({ id, result: called });
    response.end();
  }, 1_000);
  response.once('close', () => clearInterval(timer));
}

server.keepAliveTimeout = 600_000;
server.listen(0, '127.0.0.1', () => reportReady((server.address() as AddressInfo).port));
