import {
  connectionSettingsPatchSchema,
  connectionSettingsSchema,
} from '../../../connections/connection-settings.ts';
import { patchConnectionSettings } from '../../../connections/patch-settings.ts';
import type { App, HttpDeps } from '../../deps.ts';
import { validationErrorSchema } from '../../error-schemas.ts';
import { commonErrors, connectionParams } from '../parameters.ts';

/** `PATCH /{ns}/{id}/.settings`: what is left out stays as it is, null goes back to the default. */
export function patchConnectionSettingsRoute(app: App, deps: HttpDeps): void {
  app.patch(
    '/:namespace/:connectionId/.settings',
    {
      config: { permission: 'connections:write', inNamespace: true, audit: 'settings/set' },
      schema: {
        operationId: 'patchConnectionSettings',
        tags: ['connect'],
        summary: 'Change the time limits of a connection',
        description:
          'They count from the next call on. What is left out stays; null goes back to the default.',
        params: connectionParams,
        body: connectionSettingsPatchSchema(deps.limits),
        response: { 200: connectionSettingsSchema, 400: validationErrorSchema, ...commonErrors },
      },
    },
    async ({ params, body }) => patchConnectionSettings(deps, params.namespace, params.connectionId, body),
  );
}
