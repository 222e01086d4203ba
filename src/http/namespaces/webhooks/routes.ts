import type { App, HttpDeps } from '../../deps.ts';
import { createWebhookRoute } from './create-webhook.ts';
import { deleteWebhookRoute } from './delete-webhook.ts';
import { listWebhooksRoute } from './list-webhooks.ts';

/** The webhooks of a namespace. */
export function webhookRoutes(app: App, deps: HttpDeps): void {
  createWebhookRoute(app, deps);
  listWebhooksRoute(app, deps);
  deleteWebhookRoute(app, deps);
}
