import { z } from 'zod';
import { listApiKeys } from '../../identity/api-keys/list.ts';
import type { App, HttpDeps } from '../deps.ts';
import { registryErrorSchema } from '../error-schemas.ts';
import { apiKeySchema, organizationParams } from './schemas.ts';

/** `GET /organizations/{orgId}/api-keys`: all keys, for a member its own, without their values. */
export function listApiKeysRoute(app: App, { store }: HttpDeps): void {
  app.get(
    '/organizations/:orgId/api-keys',
    {
      config: { permission: 'member', errors: 'registry' },
      schema: {
        operationId: 'listApiKeys',
        tags: ['organizations'],
        summary: 'List the API keys of an organization, oldest first',
        description: 'For an admin all of them, for a member its own.',
        params: organizationParams,
        response: {
          200: z.strictObject({ apiKeys: z.array(apiKeySchema) }),
          403: registryErrorSchema,
        },
      },
    },
    async ({ principal }) => {
      const keys = await listApiKeys(store, principal);
      return {
        apiKeys: keys.map(({ id, name, createdAt, lastUsedAt, userId }) => ({
          id,
          name,
          createdAt: new Date(createdAt).toISOString(),
          lastUsedAt: lastUsedAt === null ? null : new Date(lastUsedAt).toISOString(),
          userId,
        })),
      };
    },
  );
}
