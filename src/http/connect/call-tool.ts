import { z } from 'zod';
import type { AuditEntry } from '../../audit/entry.ts';
import { callTool } from '../../gateway/call-tool.ts';
import type { App, HttpDeps } from '../deps.ts';
import { errorSchema, validationErrorSchema } from '../error-schemas.ts';
import { callerOf, callerSignal, commonErrors, toolParams } from './parameters.ts';

/** `POST /{ns}/{id}/.tools/{path…}`: the body is the arguments, the answer the CallToolResult as it is. */
export function callToolRoute(app: App, deps: HttpDeps): void {
  app.post(
    '/:namespace/:connectionId/.tools/*',
    {
      config: { permission: 'connections:execute', inNamespace: true, audit: 'tools/call' },
      bodyLimit: deps.limits.mcpBodyBytes,
      schema: {
        operationId: 'callTool',
        tags: ['tools'],
        summary: 'Call a tool',
        description: 'The body is the arguments. 200 with `isError: true` is the tool’s own failure.',
        params: toolParams,
        body: z.record(z.string(), z.unknown()),
        response: {
          200: z.looseObject({}).describe('MCP CallToolResult'),
          400: validationErrorSchema,
          ...commonErrors,
          422: errorSchema.describe('The upstream refused the call, or the connection waits for its user'),
          502: errorSchema.describe('The upstream failed'),
          503: errorSchema.describe(
            'The upstream failed several times in a row and is left alone for a moment',
          ),
          504: errorSchema.describe('The upstream was too slow'),
        },
      },
    },
    async (request, reply) => {
      const { connectionId, '*': path } = request.params;
      const signal = callerSignal(request, reply);
      const entry = request.entry as AuditEntry;
      const caller = callerOf(request);
      return callTool(deps, caller, connectionId, path, request.body, signal, entry);
    },
  );
}
