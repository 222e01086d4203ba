import type { Kysely } from 'kysely';
import { backoffMs } from '../../platform/backoff.ts';
import { createBoundedCache } from '../../platform/bounded-cache.ts';
import type { Tables } from '../../platform/store/schema.ts';
import { UpstreamFault } from '../../upstream/fault.ts';
import { type ConnectionsDeps, staleKey } from '../deps.ts';
import { clientAuthentication, forgetRegistration, fromConfigured } from './clients.ts';
import { findConfiguredClientById } from './configured-clients.ts';
import { type Grant, grantColumns, type NewGrant, readGrant } from './grant.ts';
import { refreshTokens, requestClientToken, TokenRefused } from './token-request.ts';

/**
 * Renews grants: one renewal per connection at a time, in all processes that share the store. A rotating server takes
 * a second use of a refresh token for theft and revokes everything (pains 4, 5), so only the holder of the claim in
 * the row asks, stores what it got before anyone uses it, and only if the row still holds what it sent.
 */
export interface Renewer {
  /**
   * Resolves with the grant that counts now: renewed by us, or by somebody else meanwhile; undefined if there is none
   * any more. `seen` is the version that was found wanting.
   * Throws TokenRefused when the server ended the grant, UpstreamFault `unreachable` while it fails.
   */
  renew(connectionUid: string, seen: number): Promise<Grant | undefined>;
  /** Waits for renewals under way: one that was sent must be stored. */
  settled(): Promise<void>;
}

/** Builds the renewer of this process. */
export function createRenewer(deps: ConnectionsDeps): Renewer {
  const { store, clock, limits, log } = deps;
  const running = new Map<string, Promise<Grant | undefined>>();
  /** Why the last renewal failed, for those who come before the next one is due. */
  const faults = createBoundedCache<UpstreamFault>(limits.renewFaults);

  async function renew(connectionUid: string, seen: number): Promise<Grant | undefined> {
    const start = clock.elapsed();
    for (;;) {
      const grant = await readGrant(deps, connectionUid);
      if (!grant || grant.version !== seen) return grant;
      const waitMs = (grant.refreshAt ?? 0) - clock.now();
      // Further off than any retry is ever set: the clock has gone back since.
      if (waitMs > 0 && waitMs <= limits.renewRetryMaxMs) {
        throw faults.get(connectionUid) ?? notRenewed();
      }
      if (await claim(grant)) return ask(grant);
      if (clock.elapsed() - start > limits.renewWaitMs) {
        throw new UpstreamFault('unreachable', 'the login is being renewed for too long');
      }
      await new Promise<void>((resolve) => clock.after(limits.renewPollMs, resolve));
    }
  }

  async function claim({ connectionUid, version }: Grant): Promise<boolean> {
    const now = clock.now();
    const claimed = await store.db
      .updateTable('grants')
      .set({ refresh_claim: now + limits.renewLeaseMs })
      .where('connection_uid', '=', connectionUid)
      .where('version', '=', version)
      .where((row) =>
        row.or([
          row('refresh_claim', 'is', null),
          row('refresh_claim', '<=', now),
          // Longer than any claim is made, whosever clock is ahead a little: the clock has gone back since.
          row('refresh_claim', '>', now + 2 * limits.renewLeaseMs),
        ]),
      )
      .executeTakeFirst();
    return claimed.numUpdatedRows > 0n;
  }

  /** With the claim held. */
  async function ask(grant: Grant): Promise<Grant | undefined> {
    let renewed: NewGrant;
    try {
      renewed = await request(grant);
    } catch (error) {
      const refusal = await judge(grant, error);
      if (!(refusal instanceof TokenRefused)) await postpone(grant, refusal);
      throw refusal;
    }
    return keep(grant, renewed);
  }

  async function request(grant: Grant): Promise<NewGrant> {
    const requestedAt = clock.now();
    const signal = AbortSignal.timeout(limits.fetchMs);
    const asked = await requestOf(grant);
    const tokens = grant.refreshToken
      ? await refreshTokens(deps.oauth.fetch, asked, grant.refreshToken, signal)
      : await requestClientToken(deps.oauth.fetch, asked, grant.scope, signal);
    return { ...grant, ...asked, tokens, requestedAt };
  }

  /** A client that is not accepted ends the login only if a new login would bring another client. */
  async function judge({ namespace, server, client }: Grant, error: unknown): Promise<unknown> {
    if (!(error instanceof TokenRefused) || error.code === 'invalid_grant') return error;
    if (client.origin !== 'registered') {
      return new UpstreamFault('unreachable', `the login could not be renewed: ${error.message}`, error);
    }
    await forgetRegistration(deps, namespace, server.issuer, client.information.client_id);
    return error;
  }

  async function requestOf({ namespace, server, client }: Grant) {
    if (client.configuredId === undefined) return { server, client, authentication: undefined };
    const configured = await findConfiguredClientById(deps, namespace, client.configuredId);
    if (!configured) {
      throw new UpstreamFault(
        'unreachable',
        'the login could not be renewed: its client is no longer configured',
      );
    }
    const authentication = await clientAuthentication(configured, server.issuer);
    return { server, client: fromConfigured(configured), authentication };
  }

  /**
   * Durable before it is used: a rotated token that is lost takes the login with it. A store that fails for the moment
   * is tried again while the claim keeps others from sending the old token, which the server would take for theft.
   */
  async function keep(grant: Grant, renewed: NewGrant): Promise<Grant | undefined> {
    const start = clock.elapsed();
    for (;;) {
      try {
        return await storeOnce(grant, renewed);
      } catch (error) {
        if (clock.elapsed() - start > limits.renewLeaseMs - limits.fetchMs) {
          log.error({ err: error, connection: grant.connectionUid }, 'a renewed login could not be stored');
          throw error;
        }
        await new Promise<void>((resolve) => clock.after(limits.renewPollMs, resolve));
      }
    }
  }

  async function storeOnce(
    { connectionUid, namespace, version }: Grant,
    renewed: NewGrant,
  ): Promise<Grant | undefined> {
    const columns = await grantColumns(deps.keyring, namespace, connectionUid, renewed);
    await change(connectionUid, (transaction) =>
      transaction
        .updateTable('grants')
        .set({ ...columns, version: version + 1 })
        .where('connection_uid', '=', connectionUid)
        .where('version', '=', version)
        .executeTakeFirst(),
    );
    faults.delete(connectionUid);
    return readGrant(deps, connectionUid);
  }

  async function postpone({ connectionUid, version, refreshAttempt }: Grant, fault: unknown): Promise<void> {
    const { renewRetryMinMs, renewRetryMaxMs } = limits;
    if (fault instanceof UpstreamFault) faults.set(connectionUid, fault);
    await change(connectionUid, (transaction) =>
      transaction
        .updateTable('grants')
        .set({
          refresh_claim: null,
          refresh_attempt: refreshAttempt + 1,
          refresh_at: clock.now() + backoffMs(refreshAttempt, renewRetryMinMs, renewRetryMaxMs),
        })
        .where('connection_uid', '=', connectionUid)
        .where('version', '=', version)
        .executeTakeFirst(),
    );
  }

  /** Changes the row of a grant, and tells every process if there was something to change. */
  async function change(
    connectionUid: string,
    update: (transaction: Kysely<Tables>) => Promise<{ numUpdatedRows: bigint }>,
  ): Promise<void> {
    await store.write(async (transaction, stale) => {
      if ((await update(transaction)).numUpdatedRows === 0n) return;
      const connection = await transaction
        .selectFrom('connections')
        .select(['namespace', 'id'])
        .where('uid', '=', connectionUid)
        .executeTakeFirstOrThrow();
      stale(staleKey(connection.namespace, connection.id));
    });
  }

  return {
    renew(connectionUid, seen) {
      const key = `${connectionUid}:${seen}`;
      let work = running.get(key);
      if (!work) {
        work = renew(connectionUid, seen).finally(() => running.delete(key));
        work.catch((error: unknown) => {
          log.warn(
            { connection: connectionUid, reason: (error as Error).message },
            'a login was not renewed',
          );
        });
        running.set(key, work);
      }
      return work;
    },
    async settled() {
      await Promise.allSettled(running.values());
    },
  };
}

function notRenewed(): UpstreamFault {
  return new UpstreamFault('unreachable', 'the login could not be renewed; the next attempt is due soon');
}
