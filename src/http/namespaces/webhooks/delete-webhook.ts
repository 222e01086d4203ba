import { z } from 'zod';
import { deleteWebhook } from '../../../connections/webhooks/webhook.ts';
import type { App, HttpDeps } from '../../deps.ts';
import { registryErrorSchema } from '../../error-schemas.ts';
import { webhookParams } from './schemas.ts';

/** `DELETE /namespaces/{namespace}/webhooks/{webhookId}`: with all events that wait for it. */
export function deleteWebhookRoute(app: App, { store }: HttpDeps): void {
  app.delete(
    '/namespaces/:namespace/webhooks/:webhookId',
    {
      config: {
        permission: 'namespaces:write',
        errors: 'registry',
        inNamespace: true,
        audit: 'webhooks/delete',
      },
      schema: {
        operationId: 'deleteWebhook',
        tags: ['webhooks'],
        summary: 'Delete a webhook and the events that wait for it',
        params: webhookParams,
        response: {
          200: z.strictObject({ success: z.literal(true) }),
          404: registryErrorSchema,
        },
      },
    },
    async (request) => {
      const { namespace, webhookId } = request.params;
      await deleteWebhook(store, namespace, webhookId);
      return { success: true as const };
    },
  );
}
