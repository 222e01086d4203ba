import { createHmac, randomBytes } from 'node:crypto';
import { Secret } from '../../platform/secret.ts';

/** What a webhook's requests are signed with: 24 to 64 random bytes, of one webhook only (Standard Webhooks 1.0.0). */
export type WebhookSecret = Secret<Buffer>;

/** A fresh secret of 256 bits. */
export function newWebhookSecret(): WebhookSecret {
  return new Secret(randomBytes(32));
}

/** The form in which the receiver keeps it: `whsec_` and base64 (Standard Webhooks 1.0.0, signature scheme). */
export function shownSecret(secret: WebhookSecret): string {
  return `whsec_${secret.reveal().toString('base64')}`;
}

/**
 * The three headers that let a receiver check one attempt to deliver `body`, which must be sent as it is here.
 * `id` is the message's, without a full stop, and `at` the time of the attempt in milliseconds since 1970
 * (Standard Webhooks 1.0.0, webhook headers).
 */
export function signedHeaders(
  secret: WebhookSecret,
  id: string,
  at: number,
  body: string,
): Record<'webhook-id' | 'webhook-timestamp' | 'webhook-signature', string> {
  const timestamp = String(Math.floor(at / 1000));
  const hmac = createHmac('sha256', secret.reveal()).update(`${id}.${timestamp}.${body}`, 'utf8');
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1,${hmac.digest('base64')}`,
  };
}
