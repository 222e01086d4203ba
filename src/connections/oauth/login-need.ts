import { refusedCredentials, UpstreamFault } from '../../upstream/fault.ts';
import type { ConnectionsDeps } from '../deps.ts';
import { readChallenge } from './challenge.ts';
import { findClient } from './clients.ts';
import { findConfiguredClient } from './configured-clients.ts';
import { discoverLoginServer, type LoginServer } from './discover.ts';

/** Where the user of a connection logs in and for what, as a refusal of its upstream led to it. Nothing in it is secret. */
export interface LoginNeed {
  issuer: string;
  /** Scopes to ask for; undefined leaves them to the server. */
  scope: string | undefined;
  /** As the challenge named it; undefined for the well-known place. */
  resourceMetadataUrl: string | undefined;
  /** How often more scopes were asked for already. */
  stepUps: number;
}

/**
 * Follows a 401 of the upstream to the place of login. `challenge` is its WWW-Authenticate header. `mayRegister` says
 * whether a server without metadata may be asked to register us: such a request means something else to most servers.
 * Throws UpstreamFault: `refused_credentials` if there is none, `unreachable` while it cannot be told.
 */
export async function findLogin(
  deps: ConnectionsDeps,
  namespace: string,
  mcpUrl: string,
  challenge: string | undefined,
  mayRegister: boolean,
  timeLimitMs = deps.limits.discoverLoginMs,
): Promise<LoginNeed> {
  const limitMs = Math.max(1, Math.min(timeLimitMs, deps.limits.discoverLoginMs));
  const signal = AbortSignal.any([deps.stopping, AbortSignal.timeout(limitMs)]);
  const read = await readChallenge(challenge);
  try {
    const server = await discoverLoginServer(deps.oauth.fetch, mcpUrl, read, signal);
    if (!server.metadata) await proveFallback(deps, namespace, mcpUrl, server, mayRegister, signal);
    return {
      issuer: server.issuer,
      scope: withOfflineAccess(await configuredScope(deps, namespace, mcpUrl, server), server),
      resourceMetadataUrl: read.resourceMetadataUrl,
      stepUps: 0,
    };
  } catch (fault) {
    throw fault instanceof UpstreamFault ? withRefusal(fault) : fault;
  }
}

/** Scopes that the tenant fixes for its client go before those of the server. */
async function configuredScope(
  deps: ConnectionsDeps,
  namespace: string,
  mcpUrl: string,
  { issuer, scope }: LoginServer,
): Promise<string | undefined> {
  const configured = await findConfiguredClient(deps, namespace, { mcpUrl, issuer });
  return configured?.scope ?? scope;
}

/** Refresh tokens are asked for where the server says how (MCP 2026-07-28, SEP-2207). */
export function withOfflineAccess(scope: string | undefined, { metadata }: LoginServer): string | undefined {
  const offline = 'offline_access';
  if (!scope || !metadata?.scopes_supported?.includes(offline)) return scope;
  return scope.split(' ').includes(offline) ? scope : `${scope} ${offline}`;
}

/**
 * Without metadata, only a client that the server makes or the tenant has proves that there is a login at all: any API
 * with keys of its own answers 401 too.
 */
async function proveFallback(
  deps: ConnectionsDeps,
  namespace: string,
  mcpUrl: string,
  server: LoginServer,
  mayRegister: boolean,
  signal: AbortSignal,
): Promise<void> {
  try {
    await findClient(deps, namespace, mcpUrl, server, signal, { mayRegister });
  } catch (error) {
    if (!(error instanceof UpstreamFault)) throw error;
    throw new UpstreamFault('refused_credentials', `${refusedCredentials} (401)`, error);
  }
}

/** Whatever came of the search for a login, it began with a refusal, and the status says so. */
function withRefusal(fault: UpstreamFault): UpstreamFault {
  if (fault.message.startsWith(refusedCredentials)) return fault;
  return new UpstreamFault(fault.kind, `${refusedCredentials} (401), and ${fault.message}`, fault.cause);
}
