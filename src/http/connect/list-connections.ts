import { z } from 'zod';
import { connectionSchema, present } from '../../connections/connection.ts';
import { listConnections } from '../../connections/list.ts';
import { connectionScope } from '../../identity/permits.ts';
import { ApiError } from '../../platform/errors.ts';
import type { App, HttpDeps } from '../deps.ts';
import { validationErrorSchema } from '../error-schemas.ts';
import { pageParameters } from '../page-parameters.ts';
import { commonErrors, namespaceParams } from './parameters.ts';

const querySchema = z
  .object({
    ...pageParameters,
    name: z.string().optional().meta({ description: 'Exact name.' }),
    mcpUrl: z.string().optional().meta({ description: 'Exact URL.' }),
  })
  .catchall(z.string())
  .meta({ description: 'Also `metadata.{key}={value}` or `metadata[{key}]={value}`, any number of them.' });

/** `GET /{ns}`: a page of stored connections; waits for no upstream. */
export function listConnectionsRoute(app: App, deps: HttpDeps): void {
  app.get(
    '/:namespace',
    {
      config: { permission: 'connections:read', inNamespace: true },
      schema: {
        operationId: 'listConnections',
        tags: ['connect'],
        summary: 'List connections',
        description:
          'Oldest first. Filter on metadata with `metadata.{key}={value}` or `metadata[{key}]={value}`.',
        params: namespaceParams,
        querystring: querySchema,
        response: {
          200: z.strictObject({ connections: z.array(connectionSchema), nextCursor: z.string().nullable() }),
          400: validationErrorSchema,
          ...commonErrors,
        },
      },
    },
    async (request) => {
      const { limit = deps.limits.listPage, cursor, name, mcpUrl, ...rest } = request.query;
      const { namespace } = request.params;
      const scope = connectionScope(request.principal, 'connections:read', namespace);
      if (!scope) return { connections: [], nextCursor: null };
      const query = {
        limit,
        cursor,
        name,
        mcpUrl,
        metadata: metadataFilters(rest, deps.limits.metadataFilters),
        scope,
      };
      const page = await listConnections(deps.store, namespace, query);
      return {
        connections: page.connections.map((connection) => present(connection, deps.setupUrl)),
        nextCursor: page.nextCursor,
      };
    },
  );
}

/** `metadata.a.b` is the literal key `a.b` (design §8, Lists). Throws for any other query parameter. */
function metadataFilters(rest: Record<string, string>, maxFilters: number): [string, string][] {
  const entries = Object.entries(rest);
  if (entries.length > maxFilters) {
    throw new ApiError('validation_error', { message: `metadata: at most ${maxFilters} conditions.` });
  }
  return entries.map(([parameter, value]) => {
    const key = /^metadata\.(.+)$/s.exec(parameter)?.[1] ?? /^metadata\[(.+)\]$/s.exec(parameter)?.[1];
    if (key === undefined) {
      throw new ApiError('validation_error', {
        message: `${parameter.slice(0, 100)}: is no known query parameter.`,
      });
    }
    return [key, value];
  });
}
