import type {
  AuthorizationServerMetadata,
  OAuthProtectedResourceMetadata,
} from '@modelcontextprotocol/client';
import type { GuardedFetch } from '../../platform/egress/guarded-fetch.ts';
import { isSecureUrl } from '../../platform/secure-url.ts';
import { faultOfError, refusedCredentials, UpstreamFault } from '../../upstream/fault.ts';
import type { Challenge } from './challenge.ts';
import { loadSdk } from './sdk.ts';

/** An authorization server that guards an upstream, as discovery found it. Everything in it is untrusted text. */
export interface LoginServer {
  /** The issuer, or the URL that stands for it where the server publishes no metadata. */
  issuer: string;
  /** undefined with servers of revision 2025-03-26, which may publish none: their endpoints have fixed paths. */
  metadata: AuthorizationServerMetadata | undefined;
  /** The resource indicator (RFC 8707), exactly as the upstream writes it. */
  resource: string | undefined;
  /** Scopes to ask for: the challenge's, else those of the resource's metadata, else none. */
  scope: string | undefined;
}

const endpointFields = [
  'authorization_endpoint',
  'token_endpoint',
  'registration_endpoint',
  'revocation_endpoint',
] as const;

/** What is kept of a server's metadata; it is stored with each grant, and may be long. */
const keptFields = [
  'issuer',
  'response_types_supported',
  'code_challenge_methods_supported',
  'token_endpoint_auth_methods_supported',
  'authorization_response_iss_parameter_supported',
  'client_id_metadata_document_supported',
  ...endpointFields,
];

/**
 * Finds the authorization server of an upstream that answered 401: protected resource metadata (RFC 9728), then the
 * server's own (RFC 8414, OpenID Connect Discovery), then the fallback of revision 2025-03-26.
 * Throws UpstreamFault: `refused_credentials` if no login is to be had there, `unreachable` while it cannot be told.
 */
export async function discoverLoginServer(
  fetch: GuardedFetch,
  mcpUrl: string,
  challenge: Challenge,
  signal: AbortSignal,
): Promise<LoginServer> {
  const sdk = await loadSdk();
  // The query of an upstream's URL may hold a key, which is nobody else's business.
  const url = new URL(mcpUrl);
  url.search = '';
  try {
    const found = await sdk.discoverOAuthServerInfo(url, {
      fetchFn: discoveryFetch(fetch, url, signal),
      ...(challenge.resourceMetadataUrl && { resourceMetadataUrl: new URL(challenge.resourceMetadataUrl) }),
    });
    const { authorizationServerUrl, authorizationServerMetadata: metadata, resourceMetadata } = found;
    if (!metadata && resourceMetadata?.authorization_servers?.length) {
      throw refused('its authorization server publishes no metadata');
    }
    if (metadata) checkMetadata(metadata);
    return {
      issuer: metadata?.issuer ?? authorizationServerUrl,
      metadata: metadata && keepKnown(metadata),
      resource: await resourceOf(sdk, url, resourceMetadata),
      scope: usable(challenge.scope) ?? scopesOf(resourceMetadata),
    };
  } catch (error) {
    throw faultOfDiscovery(error);
  }
}

/** Why the login cannot be used, for the status: that the upstream refused, and what is wrong with its login. */
function refused(problem: string): UpstreamFault {
  return new UpstreamFault('refused_credentials', `${refusedCredentials} (401), and ${problem}`);
}

/**
 * The SDK takes a failed lookup for a missing document, and would go on to the next authorization server in line.
 * A server that fails for the moment says nothing about which one guards the upstream, so that ends discovery here;
 * and a page where a document should be is a document that is missing.
 */
function discoveryFetch(fetch: GuardedFetch, mcpUrl: URL, signal: AbortSignal) {
  return async (url: string | URL, init?: RequestInit): Promise<Response> => {
    const asked = new URL(url);
    // Whoever sits on the way could name any login. An upstream that is itself on plain http has settled for that.
    if (!isSecureUrl(asked) && asked.origin !== mcpUrl.origin) {
      throw new TypeError('discovery failed', {
        cause: refused('its login is described at no https:// URL'),
      });
    }
    const response = await fetch(url, {
      headers: init?.headers as Record<string, string>,
      signal,
    });
    if (response.status >= 500 || response.status === 429) {
      const { host } = new URL(url);
      throw new TypeError('discovery failed', {
        cause: new UpstreamFault(
          'unreachable',
          `${host} answered ${response.status} while a login was looked for`,
        ),
      });
    }
    const isJson = response.headers.get('content-type')?.includes('json');
    return response.ok && !isJson ? new Response(null, { status: 404 }) : response;
  };
}

function checkMetadata(metadata: AuthorizationServerMetadata): void {
  // MCP 2026-07-28, basic/authorization: a server that does not say that it knows S256 must be refused.
  if (!metadata.code_challenge_methods_supported?.includes('S256')) {
    throw refused('its authorization server does not support PKCE with S256');
  }
  for (const field of endpointFields) {
    const endpoint = (metadata as Record<string, unknown>)[field];
    const url = endpoint === undefined ? undefined : URL.parse(String(endpoint));
    // MCP 2026-07-28, basic/authorization, communication security.
    if (url === null || (url && !isSecureUrl(url))) {
      throw refused(`the ${field} of its authorization server is no https:// URL`);
    }
  }
}

function keepKnown(metadata: AuthorizationServerMetadata): AuthorizationServerMetadata {
  const known = Object.entries(metadata).filter(([name]) => keptFields.includes(name));
  // Of the scopes only this one is looked for (login-need.ts), and the list may be long.
  const scopes = metadata.scopes_supported?.filter((scope) => scope === 'offline_access');
  return {
    ...Object.fromEntries(known),
    ...(scopes && { scopes_supported: scopes }),
  } as AuthorizationServerMetadata;
}

async function resourceOf(
  sdk: Awaited<ReturnType<typeof loadSdk>>,
  mcpUrl: URL,
  metadata: OAuthProtectedResourceMetadata | undefined,
): Promise<string | undefined> {
  if (!metadata) return undefined;
  const requestedResource = sdk.resourceUrlFromServerUrl(mcpUrl);
  if (!sdk.checkResourceAllowed({ requestedResource, configuredResource: metadata.resource })) {
    throw refused('its metadata is that of another resource');
  }
  return metadata.resource;
}

function scopesOf(metadata: OAuthProtectedResourceMetadata | undefined): string | undefined {
  return usable(metadata?.scopes_supported?.join(' '));
}

/** More than this no address and no page can carry; then the server decides itself, as if none were named. */
const maxScopeChars = 4096;

function usable(scope: string | undefined): string | undefined {
  return scope && scope.length <= maxScopeChars ? scope : undefined;
}

function faultOfDiscovery(error: unknown): UpstreamFault {
  if (error instanceof UpstreamFault) return error;
  if (error instanceof TypeError && error.message !== 'Invalid URL') {
    const fault = faultOfError(error.cause);
    if (fault.kind === 'refused_credentials') return fault;
    return fault.kind === 'unreachable'
      ? new UpstreamFault('unreachable', `no login could be looked for: ${fault.message}`, fault.cause)
      : new UpstreamFault('unreachable', 'no login could be looked for: no answer in time', error);
  }
  const isMixUp = (error as { name?: string }).name === 'IssuerMismatchError';
  return refused(
    isMixUp ? 'its authorization server names another issuer' : 'its login metadata is malformed',
  );
}
