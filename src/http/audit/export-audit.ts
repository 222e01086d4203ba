import { Readable } from 'node:stream';
import { z } from 'zod';
import { type AuditFilter, readAudit } from '../../audit/read.ts';
import { allPages } from '../../platform/store/pages.ts';
import type { App, HttpDeps } from '../deps.ts';
import { errorSchema, validationErrorSchema } from '../error-schemas.ts';
import { auditFilterSchema, filterOf, presentEntry } from './schemas.ts';

/** `GET /audit/export`: all that the filter finds, one JSON document a line, read as fast as the caller takes it. */
export function exportAuditRoute(app: App, deps: HttpDeps): void {
  app.get(
    '/audit/export',
    {
      config: { permission: 'admin', audit: 'audit/export' },
      schema: {
        operationId: 'exportAudit',
        tags: ['audit'],
        summary: 'Export what was done as JSON lines, newest first',
        querystring: auditFilterSchema,
        produces: ['application/jsonl'],
        response: {
          200: z.string().meta({ description: 'An AuditEntry a line' }),
          400: validationErrorSchema,
          403: errorSchema,
        },
      },
      serializerCompiler: () => (data) => JSON.stringify(data),
    },
    async (request, reply) => {
      const { organizationId } = request.principal;
      const stream = Readable.from(lines(deps, organizationId, filterOf(request.query)), {
        objectMode: false,
      });
      reply.type('application/jsonl; charset=utf-8');
      return stream as never;
    },
  );
}

/** A page at a time is one chunk. */
async function* lines(
  { store, limits, log }: HttpDeps,
  organizationId: string,
  filter: AuditFilter,
): AsyncGenerator<string> {
  const pages = allPages((cursor) =>
    readAudit(store, organizationId, filter, limits.auditExportRows, cursor),
  );
  try {
    for await (const { rows } of pages) {
      if (rows.length > 0) yield `${rows.map((row) => JSON.stringify(presentEntry(row))).join('\n')}\n`;
    }
  } catch (error) {
    // Lines are out already: the caller sees no more than that there is no end.
    log.error({ err: error }, 'an export of the audit broke off');
    throw error;
  }
}
