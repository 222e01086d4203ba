import { UpstreamFault } from '../../upstream/fault.ts';
import type { Connection } from '../connection.ts';
import { type ConnectionsDeps, staleKey } from '../deps.ts';
import { clientAuthentication, fromConfigured } from './clients.ts';
import { findConfiguredClient } from './configured-clients.ts';
import { discoverLoginServer } from './discover.ts';
import { grantColumns, insertGrant } from './grant.ts';
import type { LoginNeed } from './login-need.ts';
import { requestClientToken, TokenRefused } from './token-request.ts';

/**
 * Logs a connection in without a person, where the tenant has configured a client for that (client credentials,
 * RFC 6749 §4.4; MCP extension oauth-client-credentials). `beaten`: somebody else has changed the connection meanwhile,
 * most likely by the same login. Whether the token works, the next call or probe tells.
 * Throws UpstreamFault `unreachable` while the authorization server fails.
 */
export async function loginAsClient(
  deps: ConnectionsDeps,
  connection: Connection,
  need: LoginNeed,
): Promise<'logged_in' | 'beaten' | 'not_configured'> {
  const { store, keyring, clock, limits, oauth } = deps;
  const { uid, namespace, id, mcpUrl, targetVersion } = connection;
  const configured = await findConfiguredClient(deps, namespace, { mcpUrl, issuer: need.issuer });
  if (configured?.grantType !== 'client_credentials') return 'not_configured';
  const signal = AbortSignal.any([deps.stopping, AbortSignal.timeout(limits.discoverLoginMs)]);
  const challenge = { resourceMetadataUrl: need.resourceMetadataUrl, scope: need.scope, error: undefined };
  const server = await discoverLoginServer(oauth.fetch, mcpUrl, challenge, signal);
  const client = fromConfigured(configured);
  const scope = configured.scope ?? server.scope;
  const authentication = await clientAuthentication(configured, server.issuer);
  const requestedAt = clock.now();
  try {
    const tokens = await requestClientToken(oauth.fetch, { server, client, authentication }, scope, signal);
    const columns = await grantColumns(keyring, namespace, uid, {
      server,
      client,
      tokens,
      scope,
      requestedAt,
      resourceMetadataUrl: need.resourceMetadataUrl,
      stepUps: need.stepUps,
      loggedInAt: requestedAt,
    });
    return await store.write(async (transaction, stale) => {
      const taken = await transaction
        .updateTable('connections')
        .set({ login: null, target_version: targetVersion + 1 })
        .where('uid', '=', uid)
        .where('target_version', '=', targetVersion)
        .executeTakeFirst();
      if (taken.numUpdatedRows === 0n) return 'beaten';
      await insertGrant(transaction, uid, columns, clock.now());
      stale(staleKey(namespace, id));
      return 'logged_in';
    });
  } catch (error) {
    if (!(error instanceof TokenRefused)) throw error;
    throw new UpstreamFault('unreachable', error.message, error);
  }
}
