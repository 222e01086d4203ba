import type { AddClientAuthentication, OAuthTokens } from '@modelcontextprotocol/client';
import type { GuardedFetch } from '../../platform/egress/guarded-fetch.ts';
import { faultOfError, UpstreamFault } from '../../upstream/fault.ts';
import type { OAuthClient } from './clients.ts';
import type { LoginServer } from './discover.ts';
import { postWithoutRedirect } from './post-without-redirect.ts';
import { loadSdk } from './sdk.ts';

/**
 * The authorization server refused for good: asking the same again is of no use.
 * `code` is its OAuth error code (RFC 6749 §5.2), cut to the characters that one may have.
 */
export class TokenRefused extends Error {
  readonly code: string;

  constructor(code: string) {
    const shown = /^[\x21-\x7e]{1,64}$/.test(code) ? code : 'an unreadable error';
    super(`the authorization server refused: ${shown}`);
    this.name = 'TokenRefused';
    this.code = shown;
  }
}

/** Who asks whom, for what. */
export interface TokenRequest {
  server: Pick<LoginServer, 'issuer' | 'metadata' | 'resource'>;
  client: OAuthClient;
  authentication: AddClientAuthentication | undefined;
}

/** Errors that end a grant; all others, and whatever is no OAuth error at all, may pass (RFC 6749 §5.2; pains 3). */
const endOfGrant = new Set(['invalid_grant', 'invalid_client', 'unauthorized_client']);

/** Errors of a first request that the same request would meet again. */
const endOfRequest = new Set([
  ...endOfGrant,
  'invalid_request',
  'invalid_scope',
  'invalid_target',
  'access_denied',
  'unsupported_grant_type',
]);

/** Exchanges an authorization code. Throws TokenRefused, or UpstreamFault while the server fails. */
export async function requestTokens(
  fetch: GuardedFetch,
  { server, client, authentication }: TokenRequest,
  code: { code: string; verifier: string; redirectUri: string; iss: string | undefined },
  signal: AbortSignal,
): Promise<OAuthTokens> {
  const { exchangeAuthorization } = await loadSdk();
  return judged(endOfRequest, () =>
    exchangeAuthorization(server.issuer, {
      clientInformation: client.information,
      authorizationCode: code.code,
      codeVerifier: code.verifier,
      redirectUri: code.redirectUri,
      fetchFn: postWithoutRedirect(fetch, signal),
      ...(code.iss !== undefined && { iss: code.iss }),
      ...options(server, authentication),
    }),
  );
}

/** Renews with a refresh token; the answer repeats it where the server gave no new one. Throws as `requestTokens`. */
export async function refreshTokens(
  fetch: GuardedFetch,
  { server, client, authentication }: TokenRequest,
  refreshToken: string,
  signal: AbortSignal,
): Promise<OAuthTokens> {
  const { refreshAuthorization } = await loadSdk();
  const tokens = await judged(endOfGrant, () =>
    refreshAuthorization(server.issuer, {
      clientInformation: client.information,
      refreshToken,
      fetchFn: postWithoutRedirect(fetch, signal),
      ...options(server, authentication),
    }),
  );
  // Some servers answer "" for "as before".
  return tokens.refresh_token ? tokens : { ...tokens, refresh_token: refreshToken };
}

/** A token for the client itself, without a person (RFC 6749 §4.4). Throws as `requestTokens`. */
export async function requestClientToken(
  fetch: GuardedFetch,
  { server, client, authentication }: TokenRequest,
  scope: string | undefined,
  signal: AbortSignal,
): Promise<OAuthTokens> {
  const { fetchToken } = await loadSdk();
  const { issuer } = server;
  return judged(endOfRequest, () =>
    fetchToken(
      {
        redirectUrl: undefined,
        clientMetadata: { redirect_uris: [] },
        clientInformation: () => ({ ...client.information, issuer }),
        tokens: () => undefined,
        saveTokens: () => {},
        redirectToAuthorization: () => {},
        saveCodeVerifier: () => {},
        codeVerifier: () => '',
        prepareTokenRequest: () =>
          new URLSearchParams({ grant_type: 'client_credentials', ...(scope && { scope }) }),
        ...(authentication && { addClientAuthentication: authentication }),
      },
      issuer,
      {
        fetchFn: postWithoutRedirect(fetch, signal),
        ...(server.metadata && { metadata: server.metadata }),
        ...(server.resource && { resource: server.resource }),
      },
    ),
  );
}

function options(server: TokenRequest['server'], authentication: AddClientAuthentication | undefined) {
  return {
    ...(server.metadata && { metadata: server.metadata }),
    ...(server.resource && { resource: server.resource }),
    ...(authentication && { addClientAuthentication: authentication }),
  };
}

async function judged(
  finalErrors: ReadonlySet<string>,
  ask: () => Promise<OAuthTokens>,
): Promise<OAuthTokens> {
  let tokens: OAuthTokens;
  try {
    tokens = await ask();
  } catch (error) {
    if (error instanceof UpstreamFault) throw error;
    const { name, code, cause } = error as { name?: string; code?: unknown; cause?: unknown };
    if (name === 'IssuerMismatchError') throw new TokenRefused('issuer_mismatch');
    if (name === 'OAuthError' && finalErrors.has(String(code))) throw new TokenRefused(String(code));
    if (name === 'TypeError') {
      const fault = faultOfError(cause);
      throw new UpstreamFault(
        'unreachable',
        `the authorization server did not answer: ${fault.message}`,
        cause,
      );
    }
    throw new UpstreamFault('unreachable', 'the authorization server answered no token', error);
  }
  if (!/^[\x21-\x7e]{1,16000}$/.test(tokens.access_token)) {
    throw new UpstreamFault(
      'unreachable',
      'the authorization server answered a token that no header can carry',
    );
  }
  return tokens;
}
