import { isSameSecret } from '../../platform/is-same-secret.ts';
import { sealedFor } from '../../platform/store/sealed-columns.ts';
import { UpstreamFault } from '../../upstream/fault.ts';
import type { Connection } from '../connection.ts';
import { type ConnectionsDeps, staleKey } from '../deps.ts';
import { findConnectionByUid } from '../find.ts';
import { clientAuthentication, forgetRegistration } from './clients.ts';
import { findConfiguredClientById } from './configured-clients.ts';
import { grantColumns, insertGrant } from './grant.ts';
import { revokeGrant } from './revoke.ts';
import { loadSdk } from './sdk.ts';
import { hashOf, type PendingLogin } from './start-login.ts';
import { requestTokens, TokenRefused } from './token-request.ts';

/** What the authorization server sent the browser back with (RFC 6749 §4.1.2, RFC 9207). */
export interface LoginAnswer {
  state: string;
  code: string | undefined;
  error: string | undefined;
  iss: string | undefined;
}

/** The setup page that the login was begun on. */
type WayBack = Pick<PendingLogin, 'ticket' | 'returnUrl'>;

/** How a login ended. `connection` is the one it was for. */
export type LoginOutcome =
  | { kind: 'granted'; connection: Connection; returnUrl: string | undefined }
  /** No such login: finished before, run out, or never begun. */
  | { kind: 'unknown' }
  /**
   * Begun in another browser: somebody may have sent the person here (MCP security best practices), who learns nothing
   * of the connection.
   */
  | { kind: 'other_browser'; connection: Connection }
  /** The setup was completed by another login meanwhile. */
  | { kind: 'superseded'; connection: Connection }
  | { kind: 'declined'; connection: Connection; back: WayBack }
  /** `reason` is safe to show. */
  | { kind: 'failed'; connection: Connection; reason: string; back: WayBack };

/**
 * Finishes a login that `startLogin` began: checks state, browser and issuer, exchanges the code, and stores the grant
 * before anyone uses it. The state counts once, whatever comes of it. The connection is then due for a probe.
 */
export async function finishLogin(
  deps: ConnectionsDeps,
  answer: LoginAnswer,
  browser: string | undefined,
): Promise<LoginOutcome> {
  const stateHash = hashOf(answer.state);
  const row = await deps.store.db
    .deleteFrom('logins')
    .where('state_hash', '=', stateHash)
    .returningAll()
    .executeTakeFirst();
  if (!row || row.expires_at <= deps.clock.now()) return { kind: 'unknown' };
  const connection = await findConnectionByUid(deps.store, row.connection_uid);
  if (!connection) return { kind: 'unknown' };
  if (!isSameSecret(row.browser_hash, hashOf(browser ?? ''))) return { kind: 'other_browser', connection };
  if (connection.setupEpoch !== row.setup_epoch) return { kind: 'superseded', connection };
  const plain = await deps.keyring.unseal(row.namespace, sealedFor.login(stateHash), row.sealed);
  const pending: PendingLogin = JSON.parse(plain.toString('utf8'));
  const { returnUrl, ticket } = pending;
  const back = { returnUrl, ticket };
  if (!(await isFromServer(pending, answer))) {
    return {
      kind: 'failed',
      connection,
      back,
      reason: 'the answer came from another authorization server than was asked',
    };
  }
  if (answer.error === 'access_denied') return { kind: 'declined', connection, back };
  if (answer.code === undefined) {
    const code = answer.error && /^[a-z0-9_.-]{1,64}$/i.test(answer.error) ? answer.error : 'no code';
    return { kind: 'failed', connection, back, reason: `the authorization server answered: ${code}` };
  }
  try {
    const isStored = await exchange(deps, connection, pending, answer as LoginAnswer & { code: string });
    if (!isStored) return { kind: 'superseded', connection };
    return { kind: 'granted', connection, returnUrl };
  } catch (error) {
    if (!(error instanceof TokenRefused) && !(error instanceof UpstreamFault)) throw error;
    return { kind: 'failed', connection, back, reason: error.message };
  }
}

/** RFC 9207 §2.4, before anything else of the answer is believed. */
async function isFromServer({ server }: PendingLogin, { iss }: LoginAnswer): Promise<boolean> {
  const { validateAuthorizationResponseIssuer } = await loadSdk();
  try {
    validateAuthorizationResponseIssuer({
      iss,
      expectedIssuer: server.metadata?.issuer,
      issParameterSupported: server.metadata?.authorization_response_iss_parameter_supported === true,
    });
    return true;
  } catch {
    return false;
  }
}

/** Returns whether the grant was stored; not if another login has completed the setup meanwhile. */
async function exchange(
  deps: ConnectionsDeps,
  { uid, namespace, id, setupEpoch }: Connection,
  pending: PendingLogin,
  { code, iss }: LoginAnswer & { code: string },
): Promise<boolean> {
  const { clock, limits, keyring, store, oauth } = deps;
  const { server, client, verifier, redirectUri } = pending;
  const configured =
    client.configuredId === undefined
      ? undefined
      : await findConfiguredClientById(deps, namespace, client.configuredId);
  const authentication = await clientAuthentication(configured, server.issuer);
  const requestedAt = clock.now();
  const tokens = await requestTokens(
    oauth.fetch,
    { server, client, authentication },
    { code, verifier, redirectUri, iss },
    AbortSignal.timeout(limits.fetchMs),
  ).catch(async (error: unknown) => {
    // The server no longer knows the client that we registered: the next login registers anew (pains 9).
    if (error instanceof TokenRefused && error.code === 'invalid_client' && client.origin === 'registered') {
      await forgetRegistration(deps, namespace, server.issuer, client.information.client_id);
    }
    throw error;
  });
  const granted = { ...pending, tokens, requestedAt, loggedInAt: requestedAt };
  const columns = await grantColumns(keyring, namespace, uid, granted);
  const isStored = await store.write(async (transaction, stale) => {
    // Completed: all other tickets and logins of this setup are void, and what calls under way hear is old news.
    const updated = await transaction
      .updateTable('connections')
      .set((row) => ({
        setup_epoch: setupEpoch + 1,
        target_version: row('target_version', '+', 1),
        probe_at: clock.now(),
        probe_attempt: 0,
      }))
      .where('uid', '=', uid)
      .where('setup_epoch', '=', setupEpoch)
      .executeTakeFirst();
    if (updated.numUpdatedRows === 0n) return false;
    await insertGrant(transaction, uid, columns, clock.now());
    stale(staleKey(namespace, id));
    return true;
  });
  // Beaten by another login: its grant may be one with ours to the server, which would end both.
  if (!isStored && !(await findConnectionByUid(store, uid))) {
    const { access_token: accessToken, refresh_token: refreshToken } = tokens;
    await revokeGrant(deps, { connectionUid: uid, namespace, server, client, accessToken, refreshToken });
  }
  return isStored;
}
