import { z } from 'zod';
import { ApiError } from '../../platform/errors.ts';
import type { App, HttpDeps } from '../deps.ts';
import { acceptNoBody } from '../json-body.ts';
import { commonErrors, connectionParams } from './parameters.ts';

/**
 * `POST /{ns}/{id}/.setup`: a setup link for a connection in any state, so that its user can log in again or enter
 * other values while id, metadata and references stay (pains 12). Waiting connections carry the link in their status.
 */
export function renewSetupRoute(app: App, deps: HttpDeps): void {
  app.post(
    '/:namespace/:connectionId/.setup',
    {
      config: { permission: 'connections:write', inNamespace: true, audit: 'connections/setup' },
      preValidation: acceptNoBody,
      schema: {
        operationId: 'renewSetup',
        tags: ['connect'],
        summary: 'Get a setup link for a connection in any state',
        description: 'Its user can log in again there; the connection keeps its id, and works meanwhile.',
        params: connectionParams,
        body: z.strictObject({}).optional(),
        response: { 200: z.strictObject({ setupUrl: z.url() }), ...commonErrors },
      },
    },
    async (request) => {
      const { namespace, connectionId } = request.params;
      const connection = await deps.resolver.find(namespace, connectionId);
      if (!connection) throw new ApiError('connection_not_found');
      return { setupUrl: deps.tickets.urlOf(connection) };
    },
  );
}
