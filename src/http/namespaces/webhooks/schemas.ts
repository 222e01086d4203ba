import { z } from 'zod';
import { connectionEvents } from '../../../connections/webhooks/announce.ts';
import type { Webhook } from '../../../connections/webhooks/webhook.ts';

export const webhooksParams = z.object({ namespace: z.string() });
export const webhookParams = z.object({ namespace: z.string(), webhookId: z.string() });

export const eventsSchema = z.array(z.enum(connectionEvents)).min(1);

const webhookFields = {
  id: z.string(),
  url: z.url(),
  events: eventsSchema,
  createdAt: z.string().meta({ description: 'ISO 8601' }),
};

export const webhookSchema = z.strictObject(webhookFields).meta({ id: 'Webhook' });

export const newWebhookSchema = z
  .strictObject({
    ...webhookFields,
    secret: z.string().meta({ description: '`whsec_` and base64. Shown only here.' }),
  })
  .meta({ id: 'NewWebhook' });

/** The API's form of a webhook. */
export function presentWebhook({ id, url, events, createdAt }: Webhook): z.infer<typeof webhookSchema> {
  return { id, url, events, createdAt: new Date(createdAt).toISOString() };
}
