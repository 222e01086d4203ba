import { ApiError } from '../../../platform/errors.ts';
import type { App, HttpDeps } from '../../deps.ts';
import { commonErrors, connectionParams } from '../parameters.ts';
import { pinsSchema, presentPins } from './schemas.ts';

/** `GET /{ns}/{id}/.pins`: which definitions of tools are accepted, and what has changed since. */
export function getPinsRoute(app: App, { resolver, pins }: HttpDeps): void {
  app.get(
    '/:namespace/:connectionId/.pins',
    {
      config: { permission: 'connections:read', inNamespace: true },
      schema: {
        operationId: 'getPins',
        tags: ['tools'],
        summary: 'See how the tools of a connection have changed since they were accepted',
        params: connectionParams,
        response: { 200: pinsSchema, ...commonErrors },
      },
    },
    async ({ params }) => {
      const connection = await resolver.find(params.namespace, params.connectionId);
      if (!connection) throw new ApiError('connection_not_found');
      return presentPins(await pins.find(connection.uid));
    },
  );
}
