import { z } from 'zod';
import { deleteNamespace } from '../../identity/namespaces.ts';
import type { App, HttpDeps } from '../deps.ts';
import { registryErrorSchema } from '../error-schemas.ts';
import { nameParams } from './schemas.ts';

/** `DELETE /namespaces/{name}`: with its connections. */
export function deleteNamespaceRoute(app: App, { store, sessions }: HttpDeps): void {
  app.delete(
    '/namespaces/:name',
    {
      config: {
        permission: 'namespaces:write',
        errors: 'registry',
        namespaceParameter: 'name',
        audit: 'namespaces/delete',
      },
      schema: {
        operationId: 'deleteNamespace',
        tags: ['namespaces'],
        summary: 'Delete a namespace and its connections',
        params: nameParams,
        response: {
          200: z.strictObject({ success: z.literal(true), name: z.string() }),
          404: registryErrorSchema,
        },
      },
    },
    async (request) => {
      const { name } = request.params;
      const connections = await deleteNamespace(store, request.principal.organizationId, name);
      await Promise.all(connections.map((uid) => sessions.end(uid)));
      return { success: true as const, name };
    },
  );
}
