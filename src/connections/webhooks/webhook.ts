import type { Selectable } from 'kysely';
import { lockNamespace } from '../../identity/lock-namespace.ts';
import { ApiError } from '../../platform/errors.ts';
import { rowId } from '../../platform/ids.ts';
import type { Limits } from '../../platform/limits.ts';
import type { Tables } from '../../platform/store/schema.ts';
import { sealedFor } from '../../platform/store/sealed-columns.ts';
import { isStorableText } from '../../platform/store/storable-text.ts';
import { isMissingReference, type Store } from '../../platform/store/store.ts';
import type { ConnectionsDeps } from '../deps.ts';
import { canonicalUrl } from '../request.ts';
import type { ConnectionEvent } from './announce.ts';
import { newWebhookSecret, type WebhookSecret } from './sign.ts';

/** Where a namespace wants to hear of its connections. */
export interface Webhook {
  id: string;
  url: string;
  events: ConnectionEvent[];
  /** Milliseconds since 1970. */
  createdAt: number;
}

/**
 * Registers a webhook under a fresh secret, which no one can read again later. Whether the URL may be reached, the
 * guarded dispatcher decides at each attempt. Throws ApiError `validation_error` for a URL that is none, or one too
 * many; `namespace_not_found` if the namespace was deleted meanwhile.
 */
export async function createWebhook(
  { store, keyring, clock, limits }: Pick<ConnectionsDeps, 'store' | 'keyring' | 'clock' | 'limits'>,
  namespace: string,
  { url, events }: { url: string; events: readonly ConnectionEvent[] },
): Promise<{ webhook: Webhook; secret: WebhookSecret }> {
  const href = checkUrl(url, limits);
  const home = await namespaceRow(store.db, namespace).executeTakeFirst();
  if (!home) throw new ApiError('namespace_not_found');
  const id = rowId('wh');
  const secret = newWebhookSecret();
  const sealed_secret = await keyring
    .seal(namespace, sealedFor.webhookSecret(id), secret.reveal())
    .catch((error: unknown) => {
      throw isMissingReference(error) ? new ApiError('namespace_not_found') : error;
    });
  const row = {
    id,
    namespace,
    url: href,
    events: JSON.stringify([...new Set(events)]),
    sealed_secret,
    created_at: clock.now(),
  };
  await store.write(async (transaction) => {
    const locked = await lockNamespace(transaction, namespace);
    // One that was deleted and made again may be somebody else's, and its events are theirs.
    if (locked?.organization_id !== home.organization_id || locked.created_at !== home.created_at) {
      throw new ApiError('namespace_not_found');
    }
    const registered = await transaction
      .selectFrom('webhooks')
      .select('id')
      .where('namespace', '=', namespace)
      .execute();
    if (registered.length >= limits.webhooksPerNamespace) {
      throw new ApiError('validation_error', {
        message: `webhooks: a namespace has at most ${limits.webhooksPerNamespace}; delete one first.`,
      });
    }
    await transaction.insertInto('webhooks').values(row).execute();
  });
  return { webhook: fromRow(row), secret };
}

/** The webhooks of a namespace, oldest first. */
export async function listWebhooks(store: Store, namespace: string): Promise<Webhook[]> {
  const rows = await store.db
    .selectFrom('webhooks')
    .select(['id', 'url', 'events', 'created_at'])
    .where('namespace', '=', namespace)
    .orderBy('created_at')
    .orderBy('id')
    .execute();
  return rows.map(fromRow);
}

/** Deletes a webhook with all that is queued for it. Throws ApiError `not_found`. */
export async function deleteWebhook(store: Store, namespace: string, id: string): Promise<void> {
  if (!isStorableText(id)) throw new ApiError('not_found', { message: 'Webhook not found' });
  const deleted = await store.write((transaction) =>
    transaction
      .deleteFrom('webhooks')
      .where('namespace', '=', namespace)
      .where('id', '=', id)
      .executeTakeFirst(),
  );
  if (deleted.numDeletedRows === 0n) throw new ApiError('not_found', { message: 'Webhook not found' });
}

function fromRow(row: Pick<Selectable<Tables['webhooks']>, 'id' | 'url' | 'events' | 'created_at'>): Webhook {
  return { id: row.id, url: row.url, events: JSON.parse(row.events), createdAt: row.created_at };
}

function namespaceRow(db: Store['db'], name: string) {
  return db.selectFrom('namespaces').select(['organization_id', 'created_at']).where('name', '=', name);
}

function checkUrl(text: string, { urlChars }: Limits): string {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) refuse('must be an http:// or https:// URL');
  if (url.username || url.password) refuse('must not contain a user name or password');
  const href = canonicalUrl(text) as string;
  if (href.length > urlChars) refuse(`must be at most ${urlChars} characters`);
  return href;
}

function refuse(problem: string): never {
  throw new ApiError('validation_error', { message: `url: ${problem}.` });
}
