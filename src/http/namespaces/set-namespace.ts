import { z } from 'zod';
import { ensureNamespace } from '../../identity/namespaces.ts';
import { ApiError } from '../../platform/errors.ts';
import type { App, HttpDeps } from '../deps.ts';
import { registryErrorSchema } from '../error-schemas.ts';
import { acceptNoBody } from '../json-body.ts';
import { nameParams, namespaceSchema } from './schemas.ts';

/** `PUT /namespaces/{name}`: idempotent for the owner, 409 "already exists" for anyone else. */
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
        params: nameParams,
        body: z.strictObject({ organizationId: z.string().optional() }).optional(),
        response: {
          201: namespaceSchema,
          400: registryErrorSchema,
          403: registryErrorSchema,
          409: registryErrorSchema,
        },
      },
    },
    async (request, reply) => {
      const { organizationId } = request.principal;
      const asked = request.body?.organizationId;
      if (asked !== undefined && asked !== organizationId) {
        throw new ApiError('forbidden', { message: 'You are no admin of that organization.' });
      }
      const { name, createdAt } = await ensureNamespace(store, clock, organizationId, request.params.name);
      return reply.code(201).send({ name, createdAt: new Date(createdAt).toISOString() });
    },
  );
}
