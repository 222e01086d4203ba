import { hash, randomBytes } from 'node:crypto';
import { isSecureUrl } from '../../platform/secure-url.ts';
import { sealedFor } from '../../platform/store/sealed-columns.ts';
import { UpstreamFault } from '../../upstream/fault.ts';
import type { Connection } from '../connection.ts';
import type { ConnectionsDeps } from '../deps.ts';
import { isWaiting } from '../status.ts';
import { findClient, type OAuthClient } from './clients.ts';
import { discoverLoginServer, type LoginServer } from './discover.ts';
import { type LoginNeed, withOfflineAccess } from './login-need.ts';
import { loadSdk } from './sdk.ts';

/** What a login in a browser must still know when it comes back. Sealed in the row of the login. */
export interface PendingLogin {
  server: LoginServer;
  client: OAuthClient;
  verifier: string;
  redirectUri: string;
  scope: string | undefined;
  resourceMetadataUrl: string | undefined;
  stepUps: number;
  returnUrl: string | undefined;
  /** Of the setup page, for the way back to it. */
  ticket: string;
}

/** The login is another one by now than the person was shown: elsewhere, or for other scopes. */
export class LoginMoved extends Error {
  readonly login: Pick<LoginNeed, 'issuer' | 'scope'>;

  constructor(login: Pick<LoginNeed, 'issuer' | 'scope'>) {
    super('the login is another one now');
    this.name = 'LoginMoved';
    this.login = login;
  }
}

/**
 * Begins a login: finds the authorization server and our client there, and returns the address to send the browser to.
 * `browser` is the secret of its cookie: only that browser can finish the login (MCP 2026-07-28, security best
 * practices). Nothing is known at the server yet, and nothing of the connection changes.
 * Throws LoginMoved, or UpstreamFault with what stands in the way.
 */
export async function startLogin(
  deps: ConnectionsDeps,
  connection: Connection,
  need: LoginNeed,
  browser: string,
  { ticket, returnUrl }: { ticket: string; returnUrl: string | undefined },
): Promise<URL> {
  const { limits, oauth } = deps;
  const { namespace, mcpUrl } = connection;
  const signal = AbortSignal.any([deps.stopping, AbortSignal.timeout(limits.discoverLoginMs)]);
  const { issuer, scope, resourceMetadataUrl, stepUps } = need;
  const challenge = { scope, resourceMetadataUrl, error: undefined };
  const server = await discoverLoginServer(oauth.fetch, mcpUrl, challenge, signal);
  // The upstream writes this document anew for each reader if it likes: where the person agreed to go is where they go.
  if (server.issuer !== issuer) throw new LoginMoved({ issuer: server.issuer, scope });
  const isDoubted = await hasUnfinishedLogin(deps, connection);
  const client = await findClient(deps, namespace, mcpUrl, server, signal, { isDoubted });
  // So may the tenant have configured a client since, with scopes of its own.
  const fixed = stepUps === 0 && isWaiting(connection.status) ? client.scope : undefined;
  const wanted = fixed === undefined ? scope : withOfflineAccess(fixed, server);
  if (wanted !== scope) throw new LoginMoved({ issuer, scope: wanted });
  const { startAuthorization } = await loadSdk();
  const state = randomBytes(32).toString('base64url');
  const redirectUri = oauth.redirectUri();
  let started: Awaited<ReturnType<typeof startAuthorization>>;
  try {
    started = await startAuthorization(server.issuer, {
      ...(server.metadata && { metadata: server.metadata }),
      ...(server.resource && { resource: server.resource }),
      ...(scope && { scope }),
      clientInformation: client.information,
      redirectUrl: redirectUri,
      state,
    });
  } catch (error) {
    throw new UpstreamFault(
      'refused_credentials',
      'the authorization server offers no login that we know',
      error,
    );
  }
  const { authorizationUrl, codeVerifier: verifier } = started;
  // Discovery checked the endpoint; here is where a browser is sent to it (CVE-2025-6514).
  if (!isSecureUrl(authorizationUrl)) {
    throw new UpstreamFault(
      'refused_credentials',
      'the login page of the authorization server is no https:// URL',
    );
  }
  await storeLogin(deps, connection, state, browser, {
    server,
    client,
    verifier,
    redirectUri,
    scope,
    resourceMetadataUrl,
    stepUps,
    returnUrl,
    ticket,
  });
  return authorizationUrl;
}

/** `state` and the browser's secret are stored by their hash: a reader of the database cannot use either. */
export function hashOf(secret: string): string {
  return hash('sha256', secret, 'base64url');
}

/**
 * Whether logins of this setup went out with an older registration and did not come back: the provider may have told
 * the person that it does not know us. One that was made for this setup is not doubted again.
 */
async function hasUnfinishedLogin(
  { store, keyring }: ConnectionsDeps,
  { uid, setupEpoch }: Connection,
): Promise<boolean> {
  const rows = await store.db
    .selectFrom('logins')
    .selectAll()
    .where('connection_uid', '=', uid)
    .where('setup_epoch', '=', setupEpoch)
    .execute();
  const begun = await Promise.all(
    rows.map(async ({ namespace, state_hash, sealed }): Promise<PendingLogin> => {
      const plain = await keyring.unseal(namespace, sealedFor.login(state_hash), sealed);
      return JSON.parse(plain.toString('utf8'));
    }),
  );
  const registrations = begun.filter(({ client }) => client.origin === 'registered');
  return registrations.length > 0 && !registrations.some(({ client }) => client.isNew);
}

async function storeLogin(
  { store, keyring, clock, limits }: ConnectionsDeps,
  { uid, namespace, setupEpoch }: Connection,
  state: string,
  browser: string,
  pending: PendingLogin,
): Promise<void> {
  const stateHash = hashOf(state);
  const row = {
    state_hash: stateHash,
    connection_uid: uid,
    namespace,
    setup_epoch: setupEpoch,
    browser_hash: hashOf(browser),
    sealed: await keyring.seal(namespace, sealedFor.login(stateHash), Buffer.from(JSON.stringify(pending))),
    expires_at: clock.now() + limits.loginMs,
  };
  await store.write(async (transaction) => {
    await transaction.deleteFrom('logins').where('expires_at', '<=', clock.now()).execute();
    const begun = await transaction
      .selectFrom('logins')
      .select('state_hash')
      .where('connection_uid', '=', uid)
      .orderBy('expires_at', 'desc')
      .offset(limits.loginsPerConnection - 1)
      .limit(1000)
      .execute();
    if (begun.length > 0) {
      const oldest = begun.map(({ state_hash }) => state_hash);
      await transaction.deleteFrom('logins').where('state_hash', 'in', oldest).execute();
    }
    await transaction.insertInto('logins').values(row).execute();
  });
}
