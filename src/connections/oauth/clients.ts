import type {
  AddClientAuthentication,
  OAuthClientInformationMixed,
  OAuthClientMetadata,
} from '@modelcontextprotocol/client';
import { sealedFor } from '../../platform/store/sealed-columns.ts';
import { faultOfError, refusedCredentials, UpstreamFault } from '../../upstream/fault.ts';
import type { ConnectionsDeps } from '../deps.ts';
import { type ConfiguredClient, findConfiguredClient } from './configured-clients.ts';
import type { LoginServer } from './discover.ts';
import { postWithoutRedirect } from './post-without-redirect.ts';
import { loadSdk } from './sdk.ts';

/** Who we are to an authorization server. */
export interface OAuthClient {
  /** How we came to be it; with `configured`, the id of the tenant's entry. */
  origin: 'configured' | 'metadata-document' | 'registered';
  configuredId: string | undefined;
  grantType: 'authorization_code' | 'client_credentials';
  /** Client id, and what the registration gave besides. Holds a secret: seal it, never log it. */
  information: OAuthClientInformationMixed;
  /** Registered just now, for the login at hand. */
  isNew: boolean;
  /** The scope that the tenant's entry fixes. */
  scope: string | undefined;
}

/**
 * The client for a login of a connection, in the order of the specification (MCP 2026-07-28, basic/authorization):
 * one that the tenant registered by hand, our metadata document, one registered before, a new registration.
 * `isDoubted` says that a login with the registration went out and did not come back: a server that has forgotten a
 * client may tell only the person (pains 9), so then it is made anew.
 * Throws UpstreamFault `refused_credentials` where none of these is to be had.
 */
export async function findClient(
  deps: ConnectionsDeps,
  namespace: string,
  mcpUrl: string,
  server: LoginServer,
  signal: AbortSignal,
  { isDoubted = false, mayRegister = true }: { isDoubted?: boolean; mayRegister?: boolean } = {},
): Promise<OAuthClient> {
  const configured = await findConfiguredClient(deps, namespace, { mcpUrl, issuer: server.issuer });
  if (configured) return fromConfigured(configured);
  const documentUrl = deps.oauth.clientMetadataUrl();
  if (documentUrl && server.metadata?.client_id_metadata_document_supported === true) {
    return {
      origin: 'metadata-document',
      configuredId: undefined,
      grantType: 'authorization_code',
      information: { client_id: documentUrl, token_endpoint_auth_method: 'none' },
      isNew: false,
      scope: undefined,
    };
  }
  const known = await readRegistration(deps, namespace, server.issuer);
  if (known && !isDoubted) return registered(known, false);
  if (!mayRegister) throw new UpstreamFault('refused_credentials', `${refusedCredentials} (401)`);
  try {
    return registered(await register(deps, namespace, server, signal), true);
  } catch (error) {
    // Where registering fails, the old one may still be good.
    if (known) return registered(known, false);
    throw error;
  }
}

/** The tenant's client as it is now: its secret may have changed since the login. */
export function fromConfigured(configured: ConfiguredClient): OAuthClient {
  const { clientId, clientSecret, tokenEndpointAuthMethod } = configured;
  return {
    origin: 'configured',
    configuredId: configured.id,
    grantType: configured.grantType,
    information: {
      client_id: clientId,
      ...(clientSecret && { client_secret: clientSecret.reveal() }),
      token_endpoint_auth_method: tokenEndpointAuthMethod,
    },
    isNew: false,
    scope: configured.scope,
  };
}

/** How a client proves itself with its own key (RFC 7523 §2.2); undefined for all others, whom the SDK serves. */
export async function clientAuthentication(
  configured: ConfiguredClient | undefined,
  issuer: string,
): Promise<AddClientAuthentication | undefined> {
  if (configured?.tokenEndpointAuthMethod !== 'private_key_jwt' || !configured.privateKey) return undefined;
  const { createPrivateKeyJwtAuth } = await loadSdk();
  const key = configured.privateKey.reveal();
  return createPrivateKeyJwtAuth({
    issuer: configured.clientId,
    subject: configured.clientId,
    privateKey: key.startsWith('{') ? JSON.parse(key) : key,
    alg: configured.algorithm as string,
    audience: issuer,
  });
}

/** What we tell authorization servers about us, in a registration or in our metadata document. */
export function clientMetadata(redirectUri: string, authMethod: string | undefined): OAuthClientMetadata {
  return {
    client_name: 'Patchbay',
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    ...(authMethod && { token_endpoint_auth_method: authMethod }),
    // Servers refuse plain http to a web client, which a trial on one's own machine is not (MCP SEP-837).
    application_type: redirectUri.startsWith('http:') ? 'native' : 'web',
  };
}

/** The way to authenticate that we can keep and the server takes; undefined leaves it to the server's default. */
function offeredAuthMethod(metadata: LoginServer['metadata']): string | undefined {
  const supported = metadata?.token_endpoint_auth_methods_supported;
  return ['client_secret_basic', 'client_secret_post', 'none'].find((method) => supported?.includes(method));
}

/** Forgets a registration that its server no longer knows, so that the next login makes a fresh one. */
export async function forgetRegistration(
  deps: ConnectionsDeps,
  namespace: string,
  issuer: string,
  clientId: string,
): Promise<void> {
  const { store, oauth } = deps;
  const known = await readRegistration(deps, namespace, issuer);
  // Another login may have registered anew meanwhile.
  if (known?.client_id !== clientId) return;
  await store.db
    .deleteFrom('oauth_registrations')
    .where('namespace', '=', namespace)
    .where('issuer', '=', issuer)
    .where('redirect_uri', '=', oauth.redirectUri())
    .execute();
}

function registered(information: OAuthClientInformationMixed, isNew: boolean): OAuthClient {
  return {
    origin: 'registered',
    configuredId: undefined,
    grantType: 'authorization_code',
    information,
    isNew,
    scope: undefined,
  };
}

async function readRegistration(
  { store, oauth, keyring, clock }: ConnectionsDeps,
  namespace: string,
  issuer: string,
): Promise<OAuthClientInformationMixed | undefined> {
  const redirectUri = oauth.redirectUri();
  const row = await store.db
    .selectFrom('oauth_registrations')
    .select('sealed')
    .where('namespace', '=', namespace)
    .where('issuer', '=', issuer)
    // Registered for another address of ours, the login would be refused (pains 10).
    .where('redirect_uri', '=', redirectUri)
    .executeTakeFirst();
  if (!row) return undefined;
  const identity = sealedFor.oauthRegistration(issuer, redirectUri);
  const information = JSON.parse((await keyring.unseal(namespace, identity, row.sealed)).toString('utf8'));
  // A secret may come with an end (RFC 7591 §3.2.1).
  const { client_secret_expires_at: endsAt } = information;
  const hasEnded = typeof endsAt === 'number' && endsAt > 0 && endsAt * 1000 <= clock.now();
  return hasEnded ? undefined : information;
}

/** Dynamic registration (RFC 7591). */
async function register(
  deps: ConnectionsDeps,
  namespace: string,
  server: LoginServer,
  signal: AbortSignal,
): Promise<OAuthClientInformationMixed> {
  const { store, keyring, clock, oauth } = deps;
  const { issuer, metadata } = server;
  const redirectUri = oauth.redirectUri();
  if (metadata && !metadata.registration_endpoint) {
    throw new UpstreamFault(
      'refused_credentials',
      `${refusedCredentials} (401), and its authorization server registers no clients: add one under /namespaces/${namespace}/oauth-clients`,
    );
  }
  const document = clientMetadata(redirectUri, offeredAuthMethod(metadata));
  const information = await requestRegistration(deps, server, document, signal);
  const sealed = await keyring.seal(
    namespace,
    sealedFor.oauthRegistration(issuer, redirectUri),
    Buffer.from(JSON.stringify(information)),
  );
  const row = { namespace, issuer, redirect_uri: redirectUri, sealed, created_at: clock.now() };
  await store.write((transaction) =>
    transaction
      .insertInto('oauth_registrations')
      .values(row)
      .onConflict((conflict) =>
        conflict
          .columns(['namespace', 'issuer', 'redirect_uri'])
          .doUpdateSet({ sealed, created_at: row.created_at }),
      )
      .execute(),
  );
  return information;
}

async function requestRegistration(
  { oauth }: Pick<ConnectionsDeps, 'oauth'>,
  { issuer, metadata }: Pick<LoginServer, 'issuer' | 'metadata'>,
  document: OAuthClientMetadata,
  signal: AbortSignal,
): Promise<OAuthClientInformationMixed> {
  const { registerClient } = await loadSdk();
  let status = 0;
  let answer: unknown;
  try {
    return await registerClient(issuer, {
      ...(metadata && { metadata }),
      clientMetadata: document,
      fetchFn: async (url, init) => {
        const response = await postWithoutRedirect(oauth.fetch, signal)(url, init);
        status = response.status;
        answer = await response
          .clone()
          .json()
          .catch(() => undefined);
        return response;
      },
    });
  } catch (error) {
    if (error instanceof UpstreamFault) throw error;
    // The client is made, though the answer leaves out what it should repeat (RFC 7591 §3.2.1).
    const { client_id } = (answer ?? {}) as { client_id?: unknown };
    const isMade = (status === 200 || status === 201) && typeof client_id === 'string';
    if (isMade) return answer as OAuthClientInformationMixed;
    if (status === 0) {
      const { message } = faultOfError((error as Error).cause ?? error);
      throw new UpstreamFault('unreachable', `the authorization server registered no client: ${message}`);
    }
    if (status === 400 && document.application_type) {
      // Some refuse every field that they do not know (pains 14).
      const { application_type: _, ...plain } = document;
      return requestRegistration({ oauth }, { issuer, metadata }, plain, signal);
    }
    throw new UpstreamFault(
      'refused_credentials',
      `${refusedCredentials} (401), and its authorization server refused to register a client (${status})`,
    );
  }
}
