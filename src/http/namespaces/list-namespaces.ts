import { z } from 'zod';
import { listNamespaces, searchNamespaces } from '../../identity/namespaces.ts';
import type { App, HttpDeps } from '../deps.ts';
import { registryErrorSchema } from '../error-schemas.ts';
import { countParameter, flagParameter, namespaceSchema, paginationSchema } from './schemas.ts';

const querySchema = z.strictObject({
  q: z.string().optional().meta({ description: 'Prefix of the name.' }),
  ownerId: z.string().optional().meta({ description: 'Organization id.' }),
  hasServers: flagParameter.optional(),
  hasSkills: flagParameter.optional(),
  page: countParameter(1_000_000_000).optional(),
  pageSize: countParameter(50).optional(),
  fields: z.string().optional(),
});

/**
 * `GET /namespaces`: without a query the caller's own, all of them, oldest first; with one a search in them, in
 * pages. The vendor's SDK lists without a query and then asks `page=2`, which must be empty (api.md §3.4).
 */
export function listNamespacesRoute(app: App, { store, limits }: HttpDeps): void {
  app.get(
    '/namespaces',
    {
      config: { permission: 'namespaces:read', errors: 'registry' },
      schema: {
        operationId: 'listNamespaces',
        tags: ['namespaces'],
        summary: 'List or search your namespaces',
        querystring: querySchema,
        response: {
          200: z.union([
            z.strictObject({ namespaces: z.array(namespaceSchema) }),
            z.strictObject({
              namespaces: z.array(z.strictObject({ name: z.string() })),
              pagination: paginationSchema,
            }),
          ]),
          400: registryErrorSchema,
        },
      },
    },
    async (request) => {
      const { principal } = request;
      const { q, ownerId, hasServers, hasSkills, page = 1, pageSize } = request.query;
      if (Object.keys(request.query).length === 0) {
        const namespaces = await listNamespaces(store, principal);
        return {
          namespaces: namespaces.map(({ name, createdAt }) => ({
            name,
            createdAt: new Date(createdAt).toISOString(),
          })),
        };
      }
      // No namespace has servers or skills yet, so asking for those with some finds none.
      const wantsContent = [hasServers, hasSkills].some((flag) => flag === '1' || flag === 'true');
      const isForeign = ownerId !== undefined && ownerId !== principal.organizationId;
      // The list without a query is one page as long as it needs to be; the pages after it follow on from that.
      const size =
        pageSize ?? (q === undefined && page > 1 ? Number.MAX_SAFE_INTEGER : limits.namespacesPage);
      const found =
        wantsContent || isForeign
          ? { names: [], totalCount: 0 }
          : await searchNamespaces(store, principal, { prefix: q ?? '', page, pageSize: size });
      const shownSize = Math.min(size, limits.namespacesPage);
      return {
        namespaces: found.names.map((name) => ({ name })),
        pagination: {
          currentPage: page,
          pageSize: shownSize,
          totalPages: Math.ceil(found.totalCount / shownSize),
          totalCount: found.totalCount,
        },
      };
    },
  );
}
