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
    all: z.literal(true).optional().meta({ description: 'Instead of names.' }),
    revision,
  })
  .refine(({ tools, all }) => (tools === undefined) !== (all === undefined), {
    path: ['tools'],
    message: 'must name tools, or "all" must be true, and not both',
  });

/** `POST /{ns}/{id}/.pins/accept`: accepts changed tools as they are now. */
export function acceptPinsRoute(app: App, { resolver, pins }: HttpDeps): void {
  app.post(
    '/:namespace/:connectionId/.pins/accept',
    {
      config: { permission: 'connections:write', inNamespace: true, audit: 'pins/accept' },
      schema: {
        operationId: 'acceptPins',
        tags: ['tools'],
        summary: 'Accept changed tools of a connection',
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
      return presentPins(await pins.accept(connection.uid, body.tools, body.revision));
    },
  );
}
