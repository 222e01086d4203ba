import { configuredClientSchema } from '../../../connections/oauth/configured-client.ts';
import {
  checkConfiguredClient,
  configuredClientRequestSchema,
} from '../../../connections/oauth/configured-client-request.ts';
import { createConfiguredClient } from '../../../connections/oauth/configured-clients.ts';
import { namespaceParams } from '../../connect/parameters.ts';
import type { App, HttpDeps } from '../../deps.ts';
import { registryErrorSchema } from '../../error-schemas.ts';

/** `POST /namespaces/{namespace}/oauth-clients`: 409 while there is one for the same issuer or server. */
export function createOAuthClientRoute(app: App, deps: HttpDeps): void {
  app.post(
    '/namespaces/:namespace/oauth-clients',
    {
      config: {
        permission: 'namespaces:write',
        errors: 'registry',
        inNamespace: true,
        audit: 'oauth-clients/create',
      },
      schema: {
        operationId: 'createOAuthClient',
        tags: ['namespaces'],
        summary: 'Configure an OAuth client that you registered with a provider',
        params: namespaceParams,
        body: configuredClientRequestSchema,
        response: {
          201: configuredClientSchema,
          400: registryErrorSchema,
          404: registryErrorSchema,
          409: registryErrorSchema,
        },
      },
    },
    async (request, reply) => {
      const checked = checkConfiguredClient(request.body, deps.limits);
      return reply.code(201).send(await createConfiguredClient(deps, request.params.namespace, checked));
    },
  );
}
