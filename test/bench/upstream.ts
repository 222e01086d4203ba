import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { reportReady } from './duties.ts';

/**
 * The upstream: as little as answers both eras properly, so that it is never the slow part. `/modern` is
 * stateless (2026-07-28), `/legacy` keeps sessions (2025-11-25). Both want the stored header, so that a gateway
 * that forgets to inject it fails the bench. `?tools=` says how many tools it lists.
 */
const [, , secret] = process.argv;
const modernRevision = '2026-07-28';
const legacyRevision = '2025-11-25';
const sessions = new Set<string>();

interface Message {
  id?: string | number;
  method: string;
  params?: { name?: string; protocolVersion?: string };
}

/** A CallToolResult of about 300 bytes, as one tool with a line of text gives. */
const callResult = JSON.stringify({
  content: [{ type: 'text', text: `Sunny in Lisbon. ${'The wind is light and from the west. '.repeat(5)}` }],
  structuredContent: { city: 'Lisbon', celsius: 21.5, humidity: 0.62 },
  isError: false,
});
const modernCallResult = `{"resultType":"complete",${callResult.slice(1)}`;

/** What a tool that works for a while says on the way to its answer. */
const progressEvents = Array.from({ length: 100 }, (_, i) =>
  toEvent({
    jsonrpc: '2.0',
    method: 'notifications/progress',
    params: {
      progressToken: 'p',
      progress: i + 1,
      total: 100,
      message: 'Reading the next of many weather stations.',
    },
  }),
);

const toolLists = new Map<number, string>();

/** A ListToolsResult of `count` tools of about 500 bytes each. */
function toolList(count: number): string {
  const known = toolLists.get(count);
  if (known) return known;
  const tools = Array.from({ length: count }, (_, i) => ({
    name: `weather_${i}`,
    title: `The weather of region ${i}`,
    description: `Says how the weather is in a city of region ${i}. ${'It asks every station there. '.repeat(5)}`,
    inputSchema: {
      type: 'object',
      properties: {
        city: { type: 'string', description: 'Name of the city' },
        units: { type: 'string', enum: ['metric', 'imperial'] },
        days: { type: 'integer', minimum: 1, maximum: 10 },
      },
      required: ['city'],
    },
  }));
  const list = JSON.stringify({ resultType: 'complete', ttlMs: 0, cacheScope: 'private', tools });
  toolLists.set(count, list);
  return list;
}

const discovered = {
  resultType: 'complete',
  supportedVersions: [modernRevision],
  capabilities: { tools: {} },
  ttlMs: 0,
  cacheScope: 'private',
  _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'bench-modern', version: '1.0.0' } },
};

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => answer(request, chunks, response));
});

function answer(request: IncomingMessage, chunks: Buffer[], response: ServerResponse): void {
  const { url, method, headers } = request;
  if (headers['x-api-key'] !== secret) return sendError(response, 401, null, 'Unauthorized');
  if (method === 'DELETE') {
    sessions.delete(headers['mcp-session-id'] as string);
    response.writeHead(200, { 'content-length': 0 }).end();
    return;
  }
  if (method !== 'POST') return sendError(response, 405, null, 'Method not allowed');
  const body = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
  const message = JSON.parse(body.toString('utf8')) as Message;
  if (url?.startsWith('/modern')) answerModern(message, request, response);
  else answerLegacy(message, request, response);
}

function answerModern(
  { id, method, params }: Message,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const { headers } = request;
  if (headers['mcp-protocol-version'] !== modernRevision || headers['mcp-method'] !== method) {
    return sendError(response, 400, id, 'Header mismatch');
  }
  if (method === 'tools/call' && params?.name === 'survey') return sendEvents(response, id);
  if (method === 'tools/call') return sendResult(response, id, modernCallResult);
  if (method === 'tools/list') return sendResult(response, id, toolList(toolsAsked(request)));
  if (method === 'server/discover') return sendResult(response, id, JSON.stringify(discovered));
  sendError(response, 404, id, 'Method not found');
}

function answerLegacy(
  { id, method, params }: Message,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const { headers } = request;
  if (method === 'initialize') {
    const sessionId = randomUUID();
    sessions.add(sessionId);
    const result = {
      protocolVersion: params?.protocolVersion ?? legacyRevision,
      capabilities: { tools: {} },
      serverInfo: { name: 'bench-legacy', version: '1.0.0' },
    };
    return sendResult(response, id, JSON.stringify(result), { 'mcp-session-id': sessionId });
  }
  if (!sessions.has(headers['mcp-session-id'] as string)) {
    return sendError(response, 404, id, 'Session not found');
  }
  if (id === undefined) {
    response.writeHead(202, { 'content-length': 0 }).end();
    return;
  }
  if (method === 'tools/call') return sendResult(response, id, callResult);
  if (method === 'tools/list') return sendResult(response, id, toolList(toolsAsked(request)));
  if (method === 'ping') return sendResult(response, id, '{}');
  sendError(response, 200, id, 'Method not found');
}

function toolsAsked({ url }: IncomingMessage): number {
  return Number(url?.split('?tools=')[1] ?? 5);
}

function toEvent(message: object | string): string {
  return `event: message\ndata: ${typeof message === 'string' ? message : JSON.stringify(message)}\n\n`;
}

/** One write per event, as servers do. */
function sendEvents(response: ServerResponse, id: Message['id']): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  for (const event of progressEvents) response.write(event);
  response.end(toEvent(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${modernCallResult}}`));
}

function sendResult(
  response: ServerResponse,
  id: Message['id'],
  result: string,
  headers: Record<string, string> = {},
): void {
  send(response, 200, `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${result}}`, headers);
}

function sendError(
  response: ServerResponse,
  status: number,
  id: Message['id'] | null,
  message: string,
): void {
  send(
    response,
    status,
    JSON.stringify({ jsonrpc: '2.0', id: id ?? null, error: { code: -32601, message } }),
  );
}

function send(
  response: ServerResponse,
  status: number,
  text: string,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, {
    ...headers,
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}

// Sockets rest while other subjects are measured; one that closes under a new request would count as an error.
server.keepAliveTimeout = 600_000;
server.listen(0, '127.0.0.1', () => reportReady((server.address() as AddressInfo).port));
