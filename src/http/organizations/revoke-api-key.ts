import { z } from 'zod';
import { revokeApiKey } from '../../identity/api-keys/revoke.ts';
import type { App, HttpDeps } from '../deps.ts';
import { registryErrorSchema } from '../error-schemas.ts';
import { organizationParams } from './schemas.ts';

/** `DELETE /organizations/{orgId}/api-keys/{keyId}`: ends a key with all its service tokens. */
export function revokeApiKeyRoute(app: App, { store }: HttpDeps): void {
  app.delete(
    '/organizations/:orgId/api-keys/:keyId',
    {
      config: { permission: 'member', errors: 'registry', audit: 'api-keys/revoke' },
      schema: {
        operationId: 'revokeApiKey',
        tags: ['organizations'],
        summary: 'Revoke an API key and all service tokens that descend from it',
        description: 'A member revokes its own, an admin all.',
        params: organizationParams.extend({ keyId: z.string() }),
        response: {
          200: z.strictObject({ success: z.literal(true) }),
          403: registryErrorSchema,
          404: registryErrorSchema,
        },
      },
    },
    async ({ principal, params }) => {
      await revokeApiKey(store, principal, params.keyId);
      return { success: true as const };
    },
  );
}
