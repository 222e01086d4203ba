import { type Connection, connectionSchema, present } from '../../connections/connection.ts';
import { ApiError } from '../../platform/errors.ts';
import type { App, HttpDeps } from '../deps.ts';
import { commonErrors, connectionParams } from './parameters.ts';

/** `GET /{ns}/{id}`: what is stored; waits for no upstream. */
export function getConnectionRoute(app: App, deps: HttpDeps): void {
  const { resolver, healer } = deps;
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
    (request, reply) => {
      const { namespace, connectionId } = request.params;
      const show = (connection: Connection | undefined) => {
        if (!connection) throw new ApiError('connection_not_found');
        healer.nudge(connection);
        return present(connection, deps.setupUrl);
      };
      const found = resolver.find(namespace, connectionId);
      if (found instanceof Promise) return found.then(show);
      reply.send(show(found));
    },
  );
}
