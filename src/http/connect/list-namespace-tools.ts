import { z } from 'zod';
import { statusSchema } from '../../connections/status.ts';
import { listNamespaceTools } from '../../gateway/list-namespace-tools.ts';
import type { App, HttpDeps } from '../deps.ts';
import { errorSchema } from '../error-schemas.ts';
import { callerOf, callerSignal, commonErrors, namespaceParams, toolSchema } from './parameters.ts';

/** `GET /{ns}/.tools`: one envelope a connection; a failing upstream fails only its own. */
export function listNamespaceToolsRoute(app: App, deps: HttpDeps): void {
  app.get(
    '/:namespace/.tools',
    {
      config: { permission: 'connections:execute', inNamespace: true, audit: 'tools/list' },
      schema: {
        operationId: 'listNamespaceTools',
        tags: ['tools'],
        summary: 'List the tools of every connection in a namespace',
        params: namespaceParams,
        response: {
          200: z.record(
            z.string(),
            z.strictObject({
              status: statusSchema,
              tools: z.array(toolSchema).optional(),
              _meta: z.record(z.string(), z.unknown()).optional(),
              error: errorSchema.optional(),
            }),
          ),
          ...commonErrors,
        },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      return (await listNamespaceTools(deps, caller, callerSignal(request, reply))) as never;
    },
  );
}
