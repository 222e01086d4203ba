import { z } from 'zod';
import { isConnectionId } from '../../connections/connection-id.ts';
import { deleteConnection } from '../../connections/delete.ts';
import { ApiError } from '../../platform/errors.ts';
import type { App, HttpDeps } from '../deps.ts';
import { commonErrors, connectionParams } from './parameters.ts';

/** `DELETE /{ns}/{id}`: the connection, its credentials and its upstream sessions. */
export function deleteConnectionRoute(app: App, deps: HttpDeps): void {
  app.delete(
    '/:namespace/:connectionId',
    {
      config: { permission: 'connections:write', inNamespace: true, audit: 'connections/delete' },
      schema: {
        operationId: 'deleteConnection',
        tags: ['connect'],
        summary: 'Delete a connection and end its MCP session',
        params: connectionParams,
        response: { 200: z.strictObject({ success: z.literal(true) }), ...commonErrors },
      },
    },
    async (request) => {
      const { namespace, connectionId } = request.params;
      if (!isConnectionId(connectionId, deps.limits.connectionIdChars))
        throw new ApiError('connection_not_found');
      await deleteConnection(deps, namespace, connectionId);
      return { success: true as const };
    },
  );
}
