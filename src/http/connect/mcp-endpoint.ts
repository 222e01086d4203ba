import type { FastifyReply, FastifyRequest } from 'fastify';
import { postMessage } from '../../gateway/post-message.ts';
import { deleteSession, getStream } from '../../gateway/session-requests.ts';
import { ApiError } from '../../platform/errors.ts';
import type { App, HttpDeps } from '../deps.ts';
import { bodyBytes, mcpConfig as config, keepBodyBytes, mcpSchema, takeResponse } from './mcp-route.ts';
import { connectionParams } from './parameters.ts';

/** Below the Connect API, and below `/mcp`, as the vendor's MCP host has it (design §4). */
export const connectMcpPath = '/:namespace/:connectionId/mcp';
export const mcpPath = '/mcp/:namespace/:connectionId';

/**
 * The MCP endpoint of a connection: POST relays; GET and DELETE belong to the session of a legacy caller, and are 405
 * without one (api.md §3.3). The body stays bytes: the data plane parses it once, and passes it on as it came.
 */
export function mcpEndpointRoutes(app: App, deps: HttpDeps, path: string): void {
  app.register(async (scope: App) => {
    keepBodyBytes(scope);
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
          ...mcpSchema,
        },
      },
      (request, reply) => {
        const { namespace, connectionId } = request.params;
        const downstream = takeResponse(reply);
        const body = bodyBytes(request);
        const { headers, principal, usage } = request;
        postMessage(deps, { principal, usage, namespace, connectionId, headers, body }, downstream);
      },
    );
  });
  const inSession =
    (answer: typeof getStream) =>
    (request: FastifyRequest, reply: FastifyReply): void => {
      const { namespace, connectionId } = request.params as { namespace: string; connectionId: string };
      const { headers, principal, usage } = request;
      answer(deps, { principal, usage, namespace, connectionId, headers }, takeResponse(reply));
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
