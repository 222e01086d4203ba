import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { answerError } from '../../gateway/answer-mcp.ts';
import { endNamespaceSession, streamNamespaceSession } from '../../gateway/namespace/caller-session.ts';
import type { NamespaceRequest } from '../../gateway/namespace/namespace-post.ts';
import { postNamespaceMessage } from '../../gateway/namespace/post-namespace-message.ts';
import { ApiError } from '../../platform/errors.ts';
import type { App, HttpDeps } from '../deps.ts';
import { bodyBytes, keepBodyBytes, mcpConfig, mcpSchema, takeResponse } from './mcp-route.ts';
import { callerSignal, namespaceParams } from './parameters.ts';

export const namespaceMcpPath = '/mcp/:namespace';

/** The MCP endpoint of a namespace: one server with what all its connections offer. GET and DELETE belong to the session of a legacy caller. */
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
        const asked = read(request, reply);
        const body = bodyBytes(request);
        const downstream = takeResponse(reply);
        void postNamespaceMessage(deps, { ...asked, body, entry: downstream.entry }, downstream);
      },
    );
  });
  const inSession =
    (answer: typeof streamNamespaceSession) =>
    (request: FastifyRequest, reply: FastifyReply): void => {
      const asked = read(request, reply);
      const downstream = takeResponse(reply);
      answer(deps, asked, downstream).catch((error: unknown) =>
        answerError(deps, downstream, undefined, error),
      );
    };
  const hidden = { config: mcpConfig, schema: { hide: true } };
  app.get(namespaceMcpPath, { ...hidden, exposeHeadRoute: false }, inSession(streamNamespaceSession));
  app.delete(namespaceMcpPath, hidden, inSession(endNamespaceSession));
  app.route({
    ...hidden,
    method: ['PUT', 'PATCH'],
    url: namespaceMcpPath,
    handler: async () => {
      throw new ApiError('method_not_allowed', { headers: { allow: 'POST' } });
    },
  });
}

/** Throws ApiError `validation_error`. */
function read(request: FastifyRequest, reply: FastifyReply): NamespaceRequest {
  const { namespace } = request.params as { namespace: string };
  const search = readSearch(request.query as { search?: unknown });
  return {
    namespace,
    principal: request.principal,
    usage: request.usage,
    headers: request.headers,
    search,
    signal: callerSignal(request, reply),
  };
}

function readSearch({ search }: { search?: unknown }): boolean {
  if (search === undefined || search === '1') return search === '1';
  throw new ApiError('validation_error', { message: 'search: must be 1, or left out.' });
}
