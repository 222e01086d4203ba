import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { postMessage } from '../../gateway/post-message.ts';
import { deleteSession, getStream } from '../../gateway/session-requests.ts';
import { ApiError } from '../../platform/errors.ts';
import type { App, HttpDeps } from '../deps.ts';
import { connectionParams } from './parameters.ts';

/** Below the Connect API, and below `/mcp`, as the vendor's MCP host has it (design §4). */
export const connectMcpPath = '/:namespace/:connectionId/mcp';
export const mcpPath = '/mcp/:namespace/:connectionId';

const config = {
  permission: 'connections:execute',
  inNamespace: true,
  errors: 'jsonrpc',
  checkOrigin: true,
} as const;

export const rpcErrorSchema = z
  .strictObject({
    jsonrpc: z.literal('2.0'),
    id: z.union([z.string(), z.number(), z.null()]),
    error: z.strictObject({ code: z.number(), message: z.string(), data: z.unknown().optional() }),
  })
  .meta({ id: 'JsonRpcError' });

/**
 * The MCP endpoint of a connection: POST relays; GET and DELETE belong to the session of a legacy caller, and are 405
 * without one (api.md §3.3). The body stays bytes: the data plane parses it once, and passes it on as it came.
 */
export function mcpEndpointRoutes(app: App, deps: HttpDeps, path: string): void {
  app.register(async (scope: App) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) =>
      done(null, body),
    );
    scope.post(
      path,
      {
        config,
        bodyLimit: deps.limits.mcpBodyBytes,
        // Described for readers; the data plane validates nothing but the JSON-RPC frame.
        validatorCompiler: () => () => true,
        schema: {
          operationId: 'postMcpMessage',
          tags: ['mcp'],
          summary: 'Send one JSON-RPC message to the MCP server',
          description:
            'Stateless: no initialize is needed. Answers JSON or an event stream, as the server does.',
          params: connectionParams,
          body: z.looseObject({ jsonrpc: z.literal('2.0'), method: z.string() }),
          response: {
            200: z.looseObject({}).describe('JSON-RPC response'),
            202: z.null().describe('A notification was taken'),
            '4xx': rpcErrorSchema,
            '5xx': rpcErrorSchema,
          },
        },
      },
      (request, reply) => {
        const { namespace, connectionId } = request.params;
        reply.hijack();
        // Headers that hooks set, CORS above all, are lost to a hijacked reply unless handed on.
        const downstream = { response: reply.raw, headers: reply.getHeaders() as OutgoingHttpHeaders };
        const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
        const { organizationId } = request.principal;
        const { headers } = request;
        postMessage(deps, { namespace, connectionId, organizationId, headers, body }, downstream);
      },
    );
  });
  const inSession =
    (answer: typeof getStream) =>
    (request: FastifyRequest, reply: FastifyReply): void => {
      const { namespace, connectionId } = request.params as { namespace: string; connectionId: string };
      const { organizationId } = request.principal;
      reply.hijack();
      const downstream = { response: reply.raw, headers: reply.getHeaders() as OutgoingHttpHeaders };
      answer(deps, { namespace, connectionId, organizationId, headers: request.headers }, downstream);
    };
  app.get(path, { config, schema: { hide: true }, exposeHeadRoute: false }, inSession(getStream));
  app.delete(path, { config, schema: { hide: true } }, inSession(deleteSession));
  app.route({
    method: ['PUT', 'PATCH'],
    url: path,
    config,
    schema: { hide: true },
    handler: async () => {
      throw new ApiError('method_not_allowed', { headers: { allow: 'POST' } });
    },
  });
}
