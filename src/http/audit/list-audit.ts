import { z } from 'zod';
import { readAudit } from '../../audit/read.ts';
import type { App, HttpDeps } from '../deps.ts';
import { errorSchema, validationErrorSchema } from '../error-schemas.ts';
import { pageParameters } from '../page-parameters.ts';
import { auditEntrySchema, auditFilterSchema, filterOf, presentEntry } from './schemas.ts';

/** `GET /audit`: a page of what was done in the organization, newest first. */
export function listAuditRoute(app: App, { store, limits }: HttpDeps): void {
  app.get(
    '/audit',
    {
      config: { permission: 'admin' },
      schema: {
        operationId: 'listAudit',
        tags: ['audit'],
        summary: 'List what was done, newest first',
        description: 'An entry is there within half a second of its end.',
        querystring: auditFilterSchema.extend(pageParameters),
        response: {
          200: z.strictObject({ entries: z.array(auditEntrySchema), nextCursor: z.string().nullable() }),
          400: validationErrorSchema,
          403: errorSchema,
        },
      },
    },
    async ({ principal, query }) => {
      const { limit = limits.listPage, cursor, ...filter } = query;
      const page = await readAudit(store, principal.organizationId, filterOf(filter), limit, cursor);
      return { entries: page.rows.map(presentEntry), nextCursor: page.nextCursor };
    },
  );
}
