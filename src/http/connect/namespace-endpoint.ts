import type { OutgoingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { postNamespaceMessage } from '../../gateway/namespace/post-namespace-message.ts';
import { ApiError } from '../../platform/errors.ts';
import type { App, HttpDeps } from '../deps.ts';
import { rpcErrorSchema } from './mcp-endpoint.ts';
import { callerSignal, namespaceParams } from './parameters.ts';

const path = '/mcp/:namespace';

const config = {
  permission: 'connections:execute',
  inNamespace: true,
  errors: 'jsonrpc',
  checkOrigin: true,
} as const;

/** The MCP endpoint of a namespace: one server with the tools of all its connections. Stateless, so POST only. */
export function namespaceEndpointRoutes(app: App, deps: HttpDeps): void {
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
        // Described for readers; what is not JSON-RPC is answered as JSON-RPC.
        validatorCompiler: () => () => true,
        schema: {
          operationId: 'postNamespaceMcpMessage',
          tags: ['mcp'],
          summary: 'Send one JSON-RPC message to the MCP server of a whole namespace',
          description:
            'Tools of all connections, named `{connectionId}.{tool}`. Connections that could not be listed are in `_meta["patchbay/unavailable"]` of the list.',
          params: namespaceParams,
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
        const signal = callerSignal(request, reply);
        reply.hijack();
        // Headers that hooks set, CORS above all, are lost to a hijacked reply unless handed on.
        const downstream = { response: reply.raw, headers: reply.getHeaders() as OutgoingHttpHeaders };
        const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
        const { namespace } = request.params;
        void postNamespaceMessage(deps, { namespace, headers: request.headers, body, signal }, downstream);
      },
    );
  });
  app.route({
    method: ['GET', 'DELETE', 'PUT', 'PATCH'],
    url: path,
    config,
    schema: { hide: true },
    exposeHeadRoute: false,
    handler: async () => {
      throw new ApiError('method_not_allowed', { headers: { allow: 'POST' } });
    },
  });
}
