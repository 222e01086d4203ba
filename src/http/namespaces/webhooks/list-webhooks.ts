import { z } from 'zod';
import { listWebhooks } from '../../../connections/webhooks/webhook.ts';
import type { App, HttpDeps } from '../../deps.ts';
import { registryErrorSchema } from '../../error-schemas.ts';
import { presentWebhook, webhookSchema, webhooksParams } from './schemas.ts';

/** `GET /namespaces/{namespace}/webhooks`: all of them, oldest first, without their secrets. */
export function listWebhooksRoute(app: App, { store }: HttpDeps): void {
  app.get(
    '/namespaces/:namespace/webhooks',
    {
      config: { permission: 'namespaces:read', errors: 'registry', inNamespace: true },
      schema: {
        operationId: 'listWebhooks',
        tags: ['webhooks'],
        summary: 'List the webhooks of a namespace',
        params: webhooksParams,
        response: {
          200: z.strictObject({ webhooks: z.array(webhookSchema) }),
          404: registryErrorSchema,
        },
      },
    },
    async (request) => {
      const webhooks = await listWebhooks(store, request.params.namespace);
      return { webhooks: webhooks.map(presentWebhook) };
    },
  );
}
