import { z } from 'zod';
import { moveNamespace } from '../../identity/move-namespace.ts';
import { ensureNamespace } from '../../identity/namespaces.ts';
import type { App, HttpDeps } from '../deps.ts';
import { registryErrorSchema } from '../error-schemas.ts';
import { acceptNoBody } from '../json-body.ts';
import { nameParams, namespaceSchema } from './schemas.ts';

/**
 * `PUT /namespaces/{name}`: idempotent for the owner, 409 "already exists" for anyone else. With another organization that
 * the caller administers, too, the namespace goes there.
 */
export function setNamespaceRoute(app: App, { store, clock }: HttpDeps): void {
  app.put(
    '/namespaces/:name',
    {
      config: {
        permission: 'namespaces:write',
        errors: 'registry',
        namespaceParameter: 'name',
        audit: 'namespaces/set',
      },
      preValidation: acceptNoBody,
      schema: {
        operationId: 'setNamespace',
        tags: ['namespaces'],
        summary: 'Create a namespace, or find that it is yours already',
        description:
          'With the `organizationId` of another organization of yours, the namespace moves there, with all that is in it. You must be owner or admin of both.',
        params: nameParams,
        body: z.strictObject({ organizationId: z.string().optional() }).optional(),
        response: {
          201: namespaceSchema,
          400: registryErrorSchema,
          403: registryErrorSchema,
          404: registryErrorSchema,
          409: registryErrorSchema,
        },
      },
    },
    async (request, reply) => {
      const { principal, params } = request;
      const { organizationId } = principal;
      const asked = request.body?.organizationId ?? organizationId;
      const { name, createdAt } =
        asked === organizationId
          ? await ensureNamespace(store, clock, organizationId, params.name)
          : await moveNamespace(store, principal, params.name, asked);
      return reply.code(201).send({ name, createdAt: new Date(createdAt).toISOString() });
    },
  );
}
