import { z } from 'zod';
import { postNamespaceMessage } from '../../gateway/namespace/post-namespace-message.ts';
import { ApiError } from '../../platform/errors.ts';
import type { App, HttpDeps } from '../deps.ts';
import { bodyBytes, keepBodyBytes, mcpConfig, mcpSchema, takeResponse } from './mcp-route.ts';
import { callerSignal, namespaceParams } from './parameters.ts';

export const namespaceMcpPath = '/mcp/:namespace';

/** The MCP endpoint of a namespace: one server with what all its connections offer. Stateless, so POST only. */
export function namespaceEndpointRoutes(app: App, deps: HttpDeps): void {
  app.register(async (scope: App) => {
    keepBodyBytes(scope);
    scope.post(
      namespaceMcpPath,
      {
        config: mcpConfig,
        bodyLimit: deps.limits.mcpBodyBytes,
        // Described for readers; what is not JSON-RPC is answered as JSON-RPC.
        validatorCompiler: () => () => true,
        schema: {
          operationId: 'postNamespaceMcpMessage',
          tags: ['mcp'],
          summary: 'Send one JSON-RPC message to the MCP server of a whole namespace',
          description:
            'Tools and prompts of all connections, named `{connectionId}.{name}`, and their resources, under URIs of the namespace. Connections that could not be listed are in `_meta["patchbay/unavailable"]` of the list. With `?search=1` there are three tools instead: `search_tools`, `describe_tool` and `call_tool`.',
          params: namespaceParams,
          querystring: z.object({ search: z.literal('1').optional() }),
          ...mcpSchema,
        },
      },
      (request, reply) => {
        const search = readSearch(request.query);
        const signal = callerSignal(request, reply);
        const downstream = takeResponse(reply);
        const body = bodyBytes(request);
        const { namespace } = request.params;
        void postNamespaceMessage(
          deps,
          { namespace, headers: request.headers, search, body, signal, entry: downstream.entry },
          downstream,
        );
      },
    );
  });
  app.route({
    method: ['GET', 'DELETE', 'PUT', 'PATCH'],
    url: namespaceMcpPath,
    config: mcpConfig,
    schema: { hide: true },
    exposeHeadRoute: false,
    handler: async () => {
      throw new ApiError('method_not_allowed', { headers: { allow: 'POST' } });
    },
  });
}

function readSearch({ search }: { search?: unknown }): boolean {
  if (search === undefined || search === '1') return search === '1';
  throw new ApiError('validation_error', { message: 'search: must be 1, or left out.' });
}
