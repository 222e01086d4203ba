import { namespaceSettingsSchema, readNamespaceSettings } from '../../../identity/namespace-settings.ts';
import { namespaceParams } from '../../connect/parameters.ts';
import type { App, HttpDeps } from '../../deps.ts';
import { registryErrorSchema } from '../../error-schemas.ts';

/** `GET /namespaces/{namespace}/settings`. */
export function getSettingsRoute(app: App, { store }: HttpDeps): void {
  app.get(
    '/namespaces/:namespace/settings',
    {
      config: { permission: 'namespaces:read', errors: 'registry', inNamespace: true },
      schema: {
        operationId: 'getNamespaceSettings',
        tags: ['namespaces'],
        summary: 'Read the settings of a namespace',
        params: namespaceParams,
        response: {
          200: namespaceSettingsSchema,
          404: registryErrorSchema,
        },
      },
    },
    (request) => readNamespaceSettings(store, request.params.namespace),
  );
}
