import type { GuardedFetch } from '../../platform/egress/guarded-fetch.ts';
import type { ConnectionsDeps } from '../deps.ts';
import { clientAuthentication, fromConfigured } from './clients.ts';
import { findConfiguredClientById } from './configured-clients.ts';
import type { Grant } from './grant.ts';
import { postWithoutRedirect } from './post-without-redirect.ts';
import { loadSdk } from './sdk.ts';

/** What revoking a grant takes of it. */
export type RevocableGrant = Pick<
  Grant,
  'connectionUid' | 'namespace' | 'server' | 'client' | 'accessToken' | 'refreshToken'
>;

/**
 * Revokes a grant at its authorization server (RFC 7009), where that offers it: the refresh token, with which the server
 * ends the rest, else the access token. Never throws: the tokens are deleted here in any case, and a server that
 * fails is logged.
 */
export async function revokeGrant(deps: ConnectionsDeps, grant: RevocableGrant): Promise<void> {
  const { namespace, server, client } = grant;
  const endpoint = (server.metadata as { revocation_endpoint?: string } | undefined)?.revocation_endpoint;
  if (!endpoint) return;
  try {
    const configured =
      client.configuredId === undefined
        ? undefined
        : await findConfiguredClientById(deps, namespace, client.configuredId);
    const authenticate = await clientAuthentication(configured, server.issuer);
    const body = new URLSearchParams({
      token: grant.refreshToken ?? grant.accessToken,
      token_type_hint: grant.refreshToken ? 'refresh_token' : 'access_token',
    });
    const headers = new Headers({ accept: 'application/json' });
    if (authenticate) await authenticate(headers, body, endpoint, server.metadata);
    else
      await identify({ ...grant, client: configured ? fromConfigured(configured) : client }, headers, body);
    await post(deps.oauth.fetch, endpoint, headers, body, deps.limits.revokeMs);
  } catch (error) {
    deps.log.warn(
      { connection: grant.connectionUid, reason: (error as Error).message },
      'a grant was deleted but not revoked',
    );
  }
}

/** As the SDK does at the token endpoint (RFC 7009 §2.1: the same authentication). */
async function identify(
  { client, server }: RevocableGrant,
  headers: Headers,
  body: URLSearchParams,
): Promise<void> {
  const { selectClientAuthMethod } = await loadSdk();
  const { client_id: id, client_secret: secret } = client.information;
  const supported = server.metadata?.token_endpoint_auth_methods_supported ?? [];
  const method = selectClientAuthMethod(client.information, supported);
  if (method === 'client_secret_basic' && secret) {
    headers.set('authorization', `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`);
    return;
  }
  body.set('client_id', id);
  if (method === 'client_secret_post' && secret) body.set('client_secret', secret);
}

async function post(
  fetch: GuardedFetch,
  endpoint: string,
  headers: Headers,
  body: URLSearchParams,
  timeLimitMs: number,
): Promise<void> {
  const signal = AbortSignal.timeout(timeLimitMs);
  const response = await postWithoutRedirect(fetch, signal)(endpoint, { method: 'POST', headers, body });
  if (!response.ok) throw new Error(`the authorization server answered ${response.status}`);
}
