import { z } from 'zod';
import type { App } from '../deps.ts';
import { registryErrorSchema } from '../error-schemas.ts';
import { countParameter, paginationSchema } from '../namespaces/schemas.ts';

const querySchema = z.looseObject({
  page: countParameter(1_000_000_000).optional(),
  pageSize: countParameter(100).optional(),
});

/**
 * `GET /servers`: the registry, which holds no servers yet. Clients ask it to learn whether a key is good
 * (api.md §3.5), so it answers 401 for a bad one.
 */
export function listServersRoute(app: App): void {
  app.get(
    '/servers',
    {
      config: { permission: 'servers:read', errors: 'registry' },
      schema: {
        operationId: 'listServers',
        tags: ['servers'],
        summary: 'List servers of the registry (none yet)',
        querystring: querySchema,
        response: {
          200: z.strictObject({ servers: z.array(z.never()), pagination: paginationSchema }),
          400: registryErrorSchema,
        },
      },
    },
    async (request) => {
      const { page = 1, pageSize = 10 } = request.query;
      return { servers: [], pagination: { currentPage: page, pageSize, totalPages: 0, totalCount: 0 } };
    },
  );
}
