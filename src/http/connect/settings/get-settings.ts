import { connectionSettingsSchema } from '../../../connections/connection-settings.ts';
import { ApiError } from '../../../platform/errors.ts';
import type { App, HttpDeps } from '../../deps.ts';
import { commonErrors, connectionParams } from '../parameters.ts';

/** `GET /{ns}/{id}/.settings`. */
export function getConnectionSettingsRoute(app: App, { resolver }: HttpDeps): void {
  app.get(
    '/:namespace/:connectionId/.settings',
    {
      config: { permission: 'connections:read', inNamespace: true },
      schema: {
        operationId: 'getConnectionSettings',
        tags: ['connect'],
        summary: 'Read the time limits of a connection',
        params: connectionParams,
        response: { 200: connectionSettingsSchema, ...commonErrors },
      },
    },
    async (request) => {
      const { namespace, connectionId } = request.params;
      const connection = await resolver.find(namespace, connectionId);
      if (!connection) throw new ApiError('connection_not_found');
      return connection.settings;
    },
  );
}
