import {
  namespaceSettingsPatchSchema,
  namespaceSettingsSchema,
  patchNamespaceSettings,
} from '../../../identity/namespace-settings.ts';
import { namespaceParams } from '../../connect/parameters.ts';
import type { App, HttpDeps } from '../../deps.ts';
import { registryErrorSchema } from '../../error-schemas.ts';

/** `PATCH /namespaces/{namespace}/settings`: what is left out stays as it is. */
export function patchSettingsRoute(app: App, deps: HttpDeps): void {
  app.patch(
    '/namespaces/:namespace/settings',
    {
      config: {
        permission: 'namespaces:write',
        errors: 'registry',
        inNamespace: true,
        audit: 'settings/set',
      },
      schema: {
        operationId: 'patchNamespaceSettings',
        tags: ['namespaces'],
        summary: 'Change settings of a namespace',
        params: namespaceParams,
        body: namespaceSettingsPatchSchema,
        response: {
          200: namespaceSettingsSchema,
          400: registryErrorSchema,
          404: registryErrorSchema,
        },
      },
    },
    (request) =>
      patchNamespaceSettings(deps, request.principal.organizationId, request.params.namespace, request.body),
  );
}
