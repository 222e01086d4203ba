import { z } from 'zod';
import { listTools } from '../../gateway/list-tools.ts';
import type { App, HttpDeps } from '../deps.ts';
import { errorSchema } from '../error-schemas.ts';
import { callerOf, callerSignal, commonErrors, connectionParams, toolSchema } from './parameters.ts';

/** `GET /{ns}/{id}/.tools`: asked of the upstream now. */
export function listToolsRoute(app: App, deps: HttpDeps): void {
  app.get(
    '/:namespace/:connectionId/.tools',
    {
      config: { permission: 'connections:execute', inNamespace: true, audit: 'tools/list' },
      schema: {
        operationId: 'listTools',
        tags: ['tools'],
        summary: 'List the tools of a connection',
        params: connectionParams,
        response: {
          200: z.strictObject({ tools: z.array(toolSchema) }),
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
      const { connectionId } = request.params;
      const caller = callerOf(request);
      return (await listTools(deps, caller, connectionId, callerSignal(request, reply))) as never;
    },
  );
}
