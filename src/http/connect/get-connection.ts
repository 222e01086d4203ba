import { connectionSchema, present } from '../../connections/connection.ts';
import { isConnectionId } from '../../connections/connection-id.ts';
import { findConnection } from '../../connections/find.ts';
import { ApiError } from '../../platform/errors.ts';
import type { App, HttpDeps } from '../deps.ts';
import { commonErrors, connectionParams } from './parameters.ts';

/** `GET /{ns}/{id}`: what is stored; waits for no upstream. */
export function getConnectionRoute(app: App, deps: HttpDeps): void {
  const { store, healer, limits } = deps;
  app.get(
    '/:namespace/:connectionId',
    {
      config: { permission: 'connections:read', inNamespace: true },
      schema: {
        operationId: 'getConnection',
        tags: ['connect'],
        summary: 'Get a connection',
        params: connectionParams,
        response: { 200: connectionSchema, ...commonErrors },
      },
    },
    async (request) => {
      const { namespace, connectionId } = request.params;
      const connection = isConnectionId(connectionId, limits.connectionIdChars)
        ? await findConnection(store, namespace, connectionId)
        : undefined;
      if (!connection) throw new ApiError('connection_not_found');
      healer.nudge(connection);
      return present(connection);
    },
  );
}
