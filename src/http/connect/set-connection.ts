import { connectionSchema, present } from '../../connections/connection.ts';
import { connectionRequestSchema } from '../../connections/request.ts';
import { setConnection } from '../../connections/set.ts';
import { writeGuard } from '../access.ts';
import type { App, HttpDeps } from '../deps.ts';
import { errorSchema, validationErrorSchema } from '../error-schemas.ts';
import { acceptNoBody } from '../json-body.ts';
import { commonErrors, connectionParams } from './parameters.ts';

/** `PUT /{ns}/{id}`: 201 created, 200 updated, 409 for another URL than the stored one. */
export function setConnectionRoute(app: App, deps: HttpDeps): void {
  app.put(
    '/:namespace/:connectionId',
    {
      config: {
        permission: 'connections:write',
        inNamespace: true,
        mayCreate: true,
        audit: 'connections/set',
      },
      preValidation: acceptNoBody,
      schema: {
        operationId: 'setConnection',
        tags: ['connect'],
        summary: 'Create or update the connection of that id',
        description: '`headers` and `metadata` replace the stored value as a whole; what is left out stays.',
        params: connectionParams,
        body: connectionRequestSchema.optional(),
        response: {
          200: connectionSchema,
          201: connectionSchema,
          400: validationErrorSchema,
          ...commonErrors,
          409: errorSchema,
        },
      },
    },
    async (request, reply) => {
      const { namespace, connectionId } = request.params;
      const guard = writeGuard(request.principal, namespace);
      const body = request.body ?? {};
      const { connection, created } = await setConnection(deps, namespace, connectionId, body, guard);
      // Its next probe is due in a second, sooner than the healer would look.
      if (connection.status.state === 'error') deps.healer.wake();
      return reply.code(created ? 201 : 200).send(present(connection, deps.setupUrl));
    },
  );
}
