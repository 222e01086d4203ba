import { z } from 'zod';
import { connectionEvents } from '../../../connections/webhooks/announce.ts';
import { shownSecret } from '../../../connections/webhooks/sign.ts';
import { createWebhook } from '../../../connections/webhooks/webhook.ts';
import type { App, HttpDeps } from '../../deps.ts';
import { registryErrorSchema } from '../../error-schemas.ts';
import { eventsSchema, newWebhookSchema, presentWebhook, webhooksParams } from './schemas.ts';

const bodySchema = z.strictObject({
  url: z.url().meta({ description: 'Where events are POSTed.', examples: ['https://app.example.com/hooks'] }),
  events: eventsSchema.optional().meta({ description: 'All of them by default.' }),
});

/** `POST /namespaces/{namespace}/webhooks`: the one answer that shows the secret. */
export function createWebhookRoute(app: App, deps: HttpDeps): void {
  app.post(
    '/namespaces/:namespace/webhooks',
    {
      config: {
        permission: 'namespaces:write',
        errors: 'registry',
        inNamespace: true,
        audit: 'webhooks/create',
      },
      schema: {
        operationId: 'createWebhook',
        tags: ['webhooks'],
        summary: 'Register a webhook for events of a namespace’s connections',
        description: 'Events are signed as Standard Webhooks asks. The secret is shown only here.',
        params: webhooksParams,
        body: bodySchema,
        response: {
          201: newWebhookSchema,
          400: registryErrorSchema,
          404: registryErrorSchema,
        },
      },
    },
    async (request, reply) => {
      const { url, events = connectionEvents } = request.body;
      const { webhook, secret } = await createWebhook(deps, request.params.namespace, { url, events });
      return reply.code(201).send({ ...presentWebhook(webhook), secret: shownSecret(secret) });
    },
  );
}
