import { z } from 'zod';
import { getTool, listTools } from '../../gateway/list-tools.ts';
import type { App, HttpDeps } from '../deps.ts';
import { errorSchema } from '../error-schemas.ts';
import { callerOf, callerSignal, commonErrors, toolParams, toolSchema } from './parameters.ts';

/** `GET /{ns}/{id}/.tools/{path…}`: one tool, or the tools of a category. */
export function getToolRoute(app: App, deps: HttpDeps): void {
  app.get(
    '/:namespace/:connectionId/.tools/*',
    {
      config: { permission: 'connections:execute', inNamespace: true, audit: 'tools/list' },
      schema: {
        operationId: 'getTool',
        tags: ['tools'],
        summary: 'Get a tool, or list a category of tools',
        description: 'A dotted name may be spelled `a.b`, `a%2Fb` or `a/b`.',
        params: toolParams,
        response: {
          200: z.union([toolSchema, z.strictObject({ tools: z.array(toolSchema) })]),
          ...commonErrors,
          422: errorSchema.describe('The connection waits for its user'),
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
      const caller = callerOf(request);
      if (path === '') return (await listTools(deps, caller, connectionId, signal)) as never;
      return (await getTool(deps, caller, connectionId, path, signal)) as never;
    },
  );
}
