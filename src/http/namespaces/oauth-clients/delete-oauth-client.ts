import { z } from 'zod';
import { deleteConfiguredClient } from '../../../connections/oauth/configured-clients.ts';
import type { App, HttpDeps } from '../../deps.ts';
import { registryErrorSchema } from '../../error-schemas.ts';

/** `DELETE /namespaces/{namespace}/oauth-clients/{clientId}`, where `clientId` is the `id` that the list shows. */
export function deleteOAuthClientRoute(app: App, deps: HttpDeps): void {
  app.delete(
    '/namespaces/:namespace/oauth-clients/:clientId',
    {
      config: {
        permission: 'namespaces:write',
        errors: 'registry',
        inNamespace: true,
        audit: 'oauth-clients/delete',
      },
      schema: {
        operationId: 'deleteOAuthClient',
        tags: ['namespaces'],
        summary: 'Delete a configured OAuth client',
        params: z.object({ namespace: z.string(), clientId: z.string() }),
        response: {
          200: z.strictObject({ success: z.literal(true) }),
          404: registryErrorSchema,
        },
      },
    },
    async (request) => {
      await deleteConfiguredClient(deps, request.params.namespace, request.params.clientId);
      return { success: true as const };
    },
  );
}
