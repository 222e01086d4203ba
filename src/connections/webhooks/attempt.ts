import { Secret } from '../../platform/secret.ts';
import { sealedFor } from '../../platform/store/sealed-columns.ts';
import { version } from '../../platform/version.ts';
import type { ConnectionsDeps } from '../deps.ts';
import type { ClaimedDelivery } from './queue.ts';
import { signedHeaders } from './sign.ts';

/** What came of one attempt. `reason` is for the log: no path, no query, and nothing that the receiver wrote. */
export type Outcome =
  | { kind: 'delivered' }
  | { kind: 'gone' }
  | { kind: 'failed'; reason: string }
  /** The program stops: that says nothing about the receiver. */
  | { kind: 'broken_off' };

export type AttemptDeps = Pick<ConnectionsDeps, 'transport' | 'keyring' | 'clock' | 'limits' | 'stopping'>;

/**
 * POSTs one event to its webhook, signed for this moment, within `limits.webhookAttemptMs`. A receiver that fails is
 * an outcome, not an error: nothing is thrown. Only a 2xx counts as delivered, redirects are not followed, and what
 * the receiver answers is not read (Standard Webhooks 1.0.0, delivery success and failure).
 */
export async function attemptDelivery(
  { transport, keyring, clock, limits, stopping }: AttemptDeps,
  { id, webhookId, namespace, url, sealedSecret, body }: ClaimedDelivery,
): Promise<Outcome> {
  const { origin, pathname, search } = new URL(url);
  try {
    const secret = new Secret(
      await keyring.unseal(namespace, sealedFor.webhookSecret(webhookId), sealedSecret),
    );
    const answer = await transport.dispatcher.request({
      origin,
      path: pathname + search,
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'user-agent': `Patchbay/${version}`,
        ...signedHeaders(secret, id, clock.now(), body),
      },
      body,
      signal: AbortSignal.any([stopping, AbortSignal.timeout(limits.webhookAttemptMs)]),
    });
    // A short answer is drained, so that its socket serves again; a longer one closes it. Never rejects.
    void answer.body.dump({ limit: limits.webhookAnswerBytes });
    return outcomeOf(answer.statusCode);
  } catch (error) {
    if (stopping.aborted) return { kind: 'broken_off' };
    return { kind: 'failed', reason: reasonOf(error) };
  }
}

function outcomeOf(status: number): Outcome {
  if (status >= 200 && status < 300) return { kind: 'delivered' };
  if (status === 410) return { kind: 'gone' };
  return { kind: 'failed', reason: `answered ${status}` };
}

/** Several addresses that all failed come as one error, with no message of its own. */
function reasonOf(error: unknown): string {
  const { message, code, name } = error as { message?: string; code?: string; name?: string };
  return message || code || name || 'unknown';
}
