import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';

export const namespaceParams = z.object({ namespace: z.string() });
export const connectionParams = z.object({ namespace: z.string(), connectionId: z.string() });
export const toolParams = z.object({ namespace: z.string(), connectionId: z.string(), '*': z.string() });

/** Query parameters of a list in pages; `cursor` is `nextCursor` of the page before. */
export const pageParameters = {
  limit: z
    .string()
    .regex(/^\d{1,4}$/, 'must be a whole number from 1 to 100')
    .transform(Number)
    .pipe(z.number().min(1).max(100))
    .optional()
    .meta({ description: 'Page size, 1 to 100; 100 by default.' }),
  cursor: z.string().optional().meta({ description: '`nextCursor` of the page before.' }),
};

export const errorSchema = z
  .strictObject({ error: z.string().meta({ examples: ['not_found'] }), message: z.string() })
  .meta({ id: 'Error' });

export const validationErrorSchema = z
  .strictObject({ error: z.literal('validation_error'), message: z.string() })
  .meta({ id: 'ValidationError' });

export const toolSchema = z
  .looseObject({
    name: z.string(),
    title: z.string().optional(),
    description: z.string().optional(),
    inputSchema: z.looseObject({ type: z.literal('object') }),
  })
  .meta({ id: 'Tool', description: 'An MCP Tool, as its server describes it.' });

/** Aborted when the caller goes away before it has its answer, so that no upstream works for nobody. */
export function callerSignal(request: FastifyRequest, reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort(new Error('the caller went away'));
  });
  if (request.raw.destroyed && !request.raw.readableEnded)
    controller.abort(new Error('the caller went away'));
  return controller.signal;
}

/** Error answers that every route below a namespace may give, for the OpenAPI document. */
export const commonErrors = {
  401: errorSchema.describe('Missing or invalid token'),
  404: errorSchema.describe('Not found, or of another organization'),
};
