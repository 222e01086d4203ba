import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Caller } from '../../gateway/reach.ts';
import { errorSchema } from '../error-schemas.ts';

export const namespaceParams = z.object({ namespace: z.string() });
export const connectionParams = z.object({ namespace: z.string(), connectionId: z.string() });
export const toolParams = z.object({ namespace: z.string(), connectionId: z.string(), '*': z.string() });

export const toolSchema = z
  .looseObject({
    name: z.string(),
    title: z.string().optional(),
    description: z.string().optional(),
    inputSchema: z.looseObject({ type: z.literal('object') }),
  })
  .meta({ id: 'Tool', description: 'An MCP Tool, as its server describes it.' });

/** Who calls the namespace that the path names. */
export function callerOf({ principal, usage, params }: FastifyRequest): Caller {
  return { principal, usage, namespace: (params as { namespace: string }).namespace };
}

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
  404: errorSchema.describe('Not found, or of another organization'),
};
