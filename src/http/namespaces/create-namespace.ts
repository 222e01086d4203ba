import { createNamespace } from '../../identity/namespaces.ts';
import { missingPermission, permits } from '../../identity/permits.ts';
import type { App, HttpDeps } from '../deps.ts';
import { registryErrorSchema } from '../error-schemas.ts';
import { namespaceSchema } from './schemas.ts';

/** `POST /namespaces`: a namespace under a generated name. */
export function createNamespaceRoute(app: App, { store, clock }: HttpDeps): void {
  app.post(
    '/namespaces',
    {
      config: { permission: 'namespaces:write', errors: 'registry', audit: 'namespaces/create' },
      schema: {
        operationId: 'createNamespace',
        tags: ['namespaces'],
        summary: 'Create a namespace under a generated name',
        response: { 201: namespaceSchema, 403: registryErrorSchema },
      },
    },
    async (request, reply) => {
      // Its name is chosen here, so no token that is bound to names extends to it.
      const { policies, organizationId } = request.principal;
      const permission = 'namespaces:write';
      if (!permits(policies, { permission, namespace: '' })) throw missingPermission(permission, undefined);
      const { name, createdAt } = await createNamespace(store, clock, organizationId);
      if (request.entry) request.entry.namespace = name;
      return reply.code(201).send({ name, createdAt: new Date(createdAt).toISOString() });
    },
  );
}
