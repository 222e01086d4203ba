import { createNamespace } from '../../identity/namespaces.ts';
import type { App, HttpDeps } from '../deps.ts';
import { namespaceSchema, registryErrorSchema } from './schemas.ts';

/** `POST /namespaces`: a namespace under a generated name. */
export function createNamespaceRoute(app: App, { store, clock }: HttpDeps): void {
  app.post(
    '/namespaces',
    {
      config: { permission: 'namespaces:write', errors: 'registry' },
      schema: {
        operationId: 'createNamespace',
        tags: ['namespaces'],
        summary: 'Create a namespace under a generated name',
        response: { 201: namespaceSchema, 401: registryErrorSchema },
      },
    },
    async (request, reply) => {
      const { name, createdAt } = await createNamespace(store, clock, request.principal.organizationId);
      return reply.code(201).send({ name, createdAt: new Date(createdAt).toISOString() });
    },
  );
}
