import { z } from 'zod';
import { createApiKey } from '../../identity/api-keys/create.ts';
import { isStorableText } from '../../platform/store/storable-text.ts';
import type { App, HttpDeps } from '../deps.ts';
import { registryErrorSchema } from '../error-schemas.ts';
import { organizationParams } from './schemas.ts';

/** `POST /organizations/{orgId}/api-keys`: makes a key, whose value is in this answer and nowhere else. */
export function createApiKeyRoute(app: App, { store, clock }: HttpDeps): void {
  app.post(
    '/organizations/:orgId/api-keys',
    {
      config: { permission: 'admin', errors: 'registry', audit: 'api-keys/create' },
      schema: {
        operationId: 'createApiKey',
        tags: ['organizations'],
        summary: 'Create an API key; its value is shown this once',
        params: organizationParams,
        body: z.strictObject({
          name: z.string().min(1).max(256).refine(isStorableText, 'must have no control characters'),
        }),
        response: {
          201: z
            .strictObject({ id: z.string(), name: z.string(), key: z.string(), createdAt: z.string() })
            .meta({ id: 'CreatedApiKey' }),
          400: registryErrorSchema,
          403: registryErrorSchema,
        },
      },
    },
    async (request, reply) => {
      const { organizationId } = request.principal;
      const { name } = request.body;
      const { id, key, createdAt } = await createApiKey(store, clock, organizationId, name);
      reply.status(201);
      return { id, name, key: key.reveal(), createdAt: new Date(createdAt).toISOString() };
    },
  );
}
