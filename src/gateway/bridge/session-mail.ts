import type { Clock } from '../../platform/clock.ts';
import { rowId } from '../../platform/ids.ts';
import type { Keyring } from '../../platform/keyring.ts';
import type { Limits } from '../../platform/limits.ts';
import type { Logger } from '../../platform/logger.ts';
import { sealedFor } from '../../platform/store/sealed-columns.ts';
import type { Store } from '../../platform/store/store.ts';
import type { LiveSessions } from './live-sessions.ts';

/** Where a message belongs: the session that it came in, and the namespace whose key seals it on the way. */
interface MailAddress {
  namespace: string;
  idHash: string;
}

/**
 * Messages of legacy callers for another process. A caller's reply or cancellation comes in a POST of its own, which a load
 * balancer may give to any process, while the call waits in one.
 */
export interface SessionMail {
  /** Leaves a message for whichever process has something under way in its session; resolves once it is durable. */
  send(to: MailAddress, message: unknown): Promise<void>;
}

const staleKey = 'session-mail:';

/** Delivers to `live` what other processes send, and sends. With SQLite there are none. */
export function createSessionMail(
  store: Store,
  keyring: Keyring,
  clock: Clock,
  limits: Limits,
  log: Logger,
  live: LiveSessions,
): SessionMail {
  if (store.kind === 'sqlite') return { send: async () => {} };

  async function collect(id?: string): Promise<void> {
    let query = store.db
      .selectFrom('session_mail')
      .select(['id', 'namespace', 'id_hash', 'sealed'])
      .where('expires_at', '>', clock.now());
    if (id !== undefined) query = query.where('id', '=', id);
    for (const row of await query.execute()) {
      if (!live.has(row.id_hash)) continue;
      const plain = await keyring.unseal(row.namespace, sealedFor.sessionMail(row.id), row.sealed);
      if (!live.hear(row.id_hash, JSON.parse(plain.toString('utf8')))) continue;
      await store.db.deleteFrom('session_mail').where('id', '=', row.id).execute();
    }
  }

  const collectSoon = (id?: string) =>
    void collect(id).catch((error: unknown) => log.error({ err: error }, 'mail of a session was not read'));

  store.onStale((key) => {
    // Mail may have come while nothing could be heard.
    if (key === null) collectSoon();
    else if (key.startsWith(staleKey)) {
      const [idHash = '', id] = key.slice(staleKey.length).split(':');
      if (live.has(idHash)) collectSoon(id);
    }
  });
  return {
    async send({ namespace, idHash }, message) {
      const id = rowId('mail');
      const plain = Buffer.from(JSON.stringify(message), 'utf8');
      const sealed = await keyring.seal(namespace, sealedFor.sessionMail(id), plain);
      const expires_at = clock.now() + limits.sessionMailMs;
      await store.write(async (transaction, stale) => {
        await transaction.deleteFrom('session_mail').where('expires_at', '<=', clock.now()).execute();
        await transaction
          .insertInto('session_mail')
          .values({ id, namespace, id_hash: idHash, sealed, expires_at })
          .execute();
        stale(`${staleKey}${idHash}:${id}`);
      });
    },
  };
}
