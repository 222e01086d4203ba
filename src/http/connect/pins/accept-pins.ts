import { z } from 'zod';
import { ApiError } from '../../../platform/errors.ts';
import type { App, HttpDeps } from '../../deps.ts';
import { errorSchema, validationErrorSchema } from '../../error-schemas.ts';
import { commonErrors, connectionParams } from '../parameters.ts';
import { pinsSchema, presentPins } from './schemas.ts';

const revision = z.int().optional().meta({
  description: 'The one that was looked at: if the tools have changed again since, nothing is accepted.',
});
const bodySchema = z
  .strictObject({
    tools: z.array(z.string()).min(1).optional().meta({ description: 'Names of changed tools.' }),
    instructions: z.literal(true).optional().meta({ description: 'The instructions as they are now.' }),
    all: z.literal(true).optional().meta({ description: 'Instead of both.' }),
    revision,
  })
  .refine(({ tools, instructions, all }) => ((tools ?? instructions) !== undefined) !== (all !== undefined), {
    path: ['tools'],
    message: 'must name tools, or "instructions" or "all" must be true, and "all" alone',
  });

/** `POST /{ns}/{id}/.pins/accept`: accepts changed tools and instructions as they are now. */
export function acceptPinsRoute(app: App, { resolver, pins }: HttpDeps): void {
  app.post(
    '/:namespace/:connectionId/.pins/accept',
    {
      config: { permission: 'connections:write', inNamespace: true, audit: 'pins/accept' },
      schema: {
        operationId: 'acceptPins',
        tags: ['tools'],
        summary: 'Accept changed tools and instructions of a connection',
        params: connectionParams,
        body: bodySchema,
        response: {
          200: pinsSchema,
          400: validationErrorSchema,
          409: errorSchema.describe('The tools have changed again'),
          ...commonErrors,
        },
      },
    },
    async ({ params, body }) => {
      const connection = await resolver.find(params.namespace, params.connectionId);
      if (!connection) throw new ApiError('connection_not_found');
      const { all, tools, instructions = false, revision } = body;
      const accepted = all ? 'all' : { tools: new Set(tools), instructions };
      return presentPins(await pins.accept(connection.uid, accepted, revision));
    },
  );
}
