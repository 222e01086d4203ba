import { connectionSchema, present } from '../../connections/connection.ts';
import { createConnection } from '../../connections/create.ts';
import { connectionRequestSchema } from '../../connections/request.ts';
import { writeGuard } from '../access.ts';
import type { App, HttpDeps } from '../deps.ts';
import { validationErrorSchema } from '../error-schemas.ts';
import { acceptNoBody } from '../json-body.ts';
import { commonErrors, namespaceParams } from './parameters.ts';

/** `POST /{ns}`: 201 with the probed connection, whatever state its upstream is in. */
export function createConnectionRoute(app: App, deps: HttpDeps): void {
  app.post(
    '/:namespace',
    {
      config: { permission: 'connections:write', inNamespace: true, audit: 'connections/create' },
      preValidation: acceptNoBody,
      schema: {
        operationId: 'createConnection',
        tags: ['connect'],
        summary: 'Create a connection under a generated id',
        params: namespaceParams,
        body: connectionRequestSchema.optional(),
        response: { 201: connectionSchema, 400: validationErrorSchema, ...commonErrors },
      },
    },
    async (request, reply) => {
      const { namespace } = request.params;
      const guard = writeGuard(request.principal, namespace);
      const connection = await createConnection(deps, namespace, request.body ?? {}, guard);
      if (request.entry) request.entry.connectionId = connection.id;
      // Its next probe is due in a second, sooner than the healer would look.
      if (connection.status.state === 'error') deps.healer.wake();
      return reply.code(201).send(present(connection, deps.setupUrl));
    },
  );
}
