import { z } from 'zod';
import { configuredClientSchema } from '../../../connections/oauth/configured-client.ts';
import { listConfiguredClients } from '../../../connections/oauth/configured-clients.ts';
import { namespaceParams } from '../../connect/parameters.ts';
import type { App, HttpDeps } from '../../deps.ts';
import { registryErrorSchema } from '../../error-schemas.ts';

/** `GET /namespaces/{namespace}/oauth-clients`: all of them, oldest first; the limit makes pages needless. */
export function listOAuthClientsRoute(app: App, deps: HttpDeps): void {
  app.get(
    '/namespaces/:namespace/oauth-clients',
    {
      config: { permission: 'namespaces:read', errors: 'registry', inNamespace: true },
      schema: {
        operationId: 'listOAuthClients',
        tags: ['namespaces'],
        summary: 'List the configured OAuth clients',
        params: namespaceParams,
        response: {
          200: z.strictObject({ oauthClients: z.array(configuredClientSchema) }),
          404: registryErrorSchema,
        },
      },
    },
    async (request) => ({ oauthClients: await listConfiguredClients(deps, request.params.namespace) }),
  );
}
