import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { AuditEntry } from '../../audit/entry.ts';
import type { Downstream } from '../../gateway/relay-call.ts';
import type { App } from '../deps.ts';

/** What all MCP endpoints declare. */
export const mcpConfig = {
  permission: 'connections:execute',
  inNamespace: true,
  errors: 'jsonrpc',
  audit: true,
  checkOrigin: true,
  protectedResource: true,
} as const;

const rpcErrorSchema = z
  .strictObject({
    jsonrpc: z.literal('2.0'),
    id: z.union([z.string(), z.number(), z.null()]),
    error: z.strictObject({ code: z.number(), message: z.string(), data: z.unknown().optional() }),
  })
  .meta({ id: 'JsonRpcError' });

/** Body and answers of an MCP endpoint, for readers of the document: the data plane validates nothing but the frame. */
export const mcpSchema = {
  body: z.looseObject({ jsonrpc: z.literal('2.0'), method: z.string() }),
  response: {
    200: z.looseObject({}).describe('JSON-RPC response'),
    202: z.null().describe('A notification was taken'),
    '4xx': rpcErrorSchema,
    '5xx': rpcErrorSchema,
  },
};

/** Leaves the bodies of a scope as the bytes that came: the data plane parses them once. */
export function keepBodyBytes(scope: App): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    if (request.entry) request.entry.bytesIn = body.length;
    done(null, body);
  });
}

/** The bytes of a request's body. */
export function bodyBytes({ body }: FastifyRequest): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.alloc(0);
}

/** Takes the response out of the framework's hands, with the headers that hooks have set, CORS above all. */
export function takeResponse(reply: FastifyReply): Downstream {
  reply.hijack();
  const entry = reply.request.entry as AuditEntry;
  return { response: reply.raw, headers: reply.getHeaders() as OutgoingHttpHeaders, entry };
}
