import { type CredentialsRefused, UpstreamFault } from '../upstream/fault.ts';
import { createUplinkTarget, type Target } from '../upstream/target.ts';
import type { Connection } from './connection.ts';
import { timeLimitsOf } from './connection-settings.ts';
import type { ConnectionsDeps } from './deps.ts';
import { findConnectionByUid } from './find.ts';
import { makeTarget } from './make-target.ts';
import { readChallenge } from './oauth/challenge.ts';
import { loginAsClient } from './oauth/client-login.ts';
import { type Grant, isRenewable, readGrant } from './oauth/grant.ts';
import { findLogin, type LoginNeed } from './oauth/login-need.ts';
import type { Renewer } from './oauth/renew.ts';
import { loadSdk } from './oauth/sdk.ts';
import { TokenRefused } from './oauth/token-request.ts';
import { unsealHeaders } from './sealed-headers.ts';
import { findingColumns, storeFinding } from './store-finding.ts';

/** A connection with its credentials opened, ready to be called. */
export interface ResolvedConnection {
  connection: Connection;
  target: Target;
  /** The connection's own headers. */
  headers: Record<string, string>;
  grant: Grant | undefined;
  /** From then on the token is renewed before a call; undefined where it cannot be, or has no end. */
  renewAt: number | undefined;
  /** The version of the grant that `recover` had renewed for this very call; undefined if it did not. */
  renewed?: number;
}

/** What the verbs on connections need that call upstreams. */
export interface CredentialedDeps extends ConnectionsDeps {
  credentials: Credentials;
}

/** Opens, renews and gives up the credentials of connections. */
export interface Credentials {
  /** The credentials as stored. */
  open(connection: Connection): Promise<ResolvedConnection>;
  /**
   * The same, renewed if that is due; undefined if the connection waits for its user now, or is gone.
   * Throws UpstreamFault `unreachable` while the authorization server fails and the token has run out.
   */
  openFresh(connection: Connection): Promise<ResolvedConnection | undefined>;
  /**
   * After an upstream refused `used`: renews the token, or finds out where the user logs in. Resolves with what to
   * call again; a fresh token that was renewed for this very call (`used.renewed`) and is refused is given up (pains 2).
   * undefined: the connection waits for its user now, or is gone. Throws the refusal if nothing can be done, and
   * UpstreamFault `unreachable` while the authorization server fails.
   */
  recover(used: ResolvedConnection, refusal: CredentialsRefused): Promise<ResolvedConnection | undefined>;
}

/** How often one call is made again after refusals, before it is answered with one. */
export const maxRecoveries = 3;

/** Builds the credentials of this process. */
export function createCredentials(deps: ConnectionsDeps, renewer: Renewer): Credentials {
  const { clock, limits, keyring } = deps;

  async function open(connection: Connection): Promise<ResolvedConnection> {
    const { uid, namespace, targetVersion: version, mcpUrl, inputs, settings } = connection;
    const [headers, grant] = await Promise.all([
      unsealHeaders(keyring, namespace, uid, connection.sealedHeaders),
      readGrant(deps, uid),
    ]);
    const accessToken = grant?.accessToken;
    const timeLimits = timeLimitsOf(settings, limits);
    const target =
      connection.transport === 'uplink'
        ? createUplinkTarget(uid, version, connection.uplinkHolder, timeLimits)
        : makeTarget({ uid, version, mcpUrl, headers, inputs, accessToken, timeLimits });
    return {
      connection,
      target,
      headers,
      grant,
      renewAt: renewAtOf(grant),
    };
  }

  function renewAtOf(grant: Grant | undefined): number | undefined {
    if (!grant?.expiresAt || !isRenewable(grant)) return undefined;
    // A token that lives for a minute is not renewed with every call.
    const ahead = Math.min(limits.renewAheadMs, (grant.lifetimeMs ?? 0) / 4);
    const due = grant.expiresAt - ahead;
    // A renewal ahead of time that failed is not repeated with every call.
    return grant.refreshAt === undefined ? due : Math.min(Math.max(due, grant.refreshAt), grant.expiresAt);
  }

  async function openFresh(connection: Connection): Promise<ResolvedConnection | undefined> {
    const opened = await open(connection);
    const { grant, renewAt } = opened;
    if (!grant || renewAt === undefined || clock.now() < renewAt) return opened;
    try {
      return await renewed(opened, grant);
    } catch (fault) {
      // Not run out yet: the old token is as good as it was.
      if (fault instanceof UpstreamFault && clock.now() < (grant.expiresAt as number)) return opened;
      throw fault;
    }
  }

  /** undefined if the grant has ended. */
  async function renewed(
    { connection }: ResolvedConnection,
    grant: Grant,
  ): Promise<ResolvedConnection | undefined> {
    try {
      if (!(await renewer.renew(connection.uid, grant.version))) return undefined;
      const again = await reopened(connection);
      return again?.grant && { ...again, renewed: again.grant.version };
    } catch (error) {
      if (!(error instanceof TokenRefused)) throw error;
      return (await giveUp(connection, grant, undefined)) ? undefined : reopened(connection);
    }
  }

  async function reopened({ uid }: Connection): Promise<ResolvedConnection | undefined> {
    const connection = await findConnectionByUid(deps.store, uid);
    return connection && open(connection);
  }

  /**
   * Ends a grant and makes the connection wait for its user, unless that was done already; false if another grant has
   * taken its place: `invalid_grant` ends only what was sent (pains 5).
   */
  async function giveUp(connection: Connection, grant: Grant, need: LoginNeed | undefined): Promise<boolean> {
    const { scope, server, resourceMetadataUrl, stepUps } = grant;
    const login = need ?? { issuer: server.issuer, scope, resourceMetadataUrl, stepUps };
    let current: Connection | undefined = connection;
    try {
      while (current) {
        const stored = await waitForLogin(current, login, async (transaction) => {
          const ended = await transaction
            .deleteFrom('grants')
            .where('connection_uid', '=', grant.connectionUid)
            .where('version', '=', grant.version)
            .executeTakeFirst();
          if (ended.numDeletedRows === 0n) throw new GrantReplaced();
        });
        if (stored) break;
        // The row has another target by now, and may have the same grant.
        current = await findConnectionByUid(deps.store, connection.uid);
      }
      return true;
    } catch (error) {
      if (!(error instanceof GrantReplaced)) throw error;
      return (await readGrant(deps, connection.uid)) === undefined;
    }
  }

  async function waitForLogin(
    connection: Connection,
    login: LoginNeed,
    also?: Parameters<typeof storeFinding>[3]['also'],
  ): Promise<Connection | undefined> {
    const status = { state: 'auth_required' } as const;
    const at = Math.max(clock.now(), connection.statusAt);
    const finding = { status, at, learned: undefined, inputs: undefined, login };
    const found = { status, columns: findingColumns(finding, 0, deps) };
    const stored = await storeFinding(deps, connection, found, {
      unlessNewer: false,
      ...(also && { also }),
    });
    // Not ended at the upstream: what has no credentials any more calls nobody (pains 2).
    if (stored) deps.sessions.forget(connection.uid);
    return stored;
  }

  async function needLogin(
    used: ResolvedConnection,
    refusal: CredentialsRefused,
  ): Promise<ResolvedConnection | undefined> {
    const { connection, grant } = used;
    // A fresh token of our own was refused, and no user can help with that.
    if (grant?.client.grantType === 'client_credentials') throw refusal;
    const login = await findLogin(deps, connection.namespace, connection.mcpUrl, refusal.challenge, false);
    if ((await loginAsClient(deps, connection, login)) !== 'not_configured') return reopened(connection);
    if (grant) {
      // What was granted before is asked for again, or its user would have to log in twice.
      const { computeScopeUnion } = await loadSdk();
      const need = { ...login, scope: computeScopeUnion(grant.scope, login.scope) };
      return (await giveUp(connection, grant, need)) ? undefined : reopened(connection);
    }
    await waitForLogin(connection, login);
    return undefined;
  }

  async function stepUp(
    used: ResolvedConnection,
    refusal: CredentialsRefused,
  ): Promise<ResolvedConnection | undefined> {
    const { error, scope: asked, resourceMetadataUrl } = await readChallenge(refusal.challenge);
    const { grant, connection } = used;
    if (error !== 'insufficient_scope' || !grant) throw refusal;
    // One after the other they go in circles; years apart they are new wishes.
    const isRecent = clock.now() - grant.loggedInAt < limits.stepUpPauseMs;
    const stepUps = isRecent ? grant.stepUps : 0;
    if (stepUps >= limits.stepUps) throw refusal;
    const { computeScopeUnion, isStrictScopeSuperset } = await loadSdk();
    const scope = computeScopeUnion(grant.scope, asked);
    // The server granted it all and refuses still: asking once more would only go in circles.
    if (!isStrictScopeSuperset(scope, grant.scope)) throw refusal;
    await waitForLogin(connection, {
      issuer: grant.server.issuer,
      scope,
      resourceMetadataUrl: resourceMetadataUrl ?? grant.resourceMetadataUrl,
      stepUps: stepUps + 1,
    });
    return undefined;
  }

  async function recover(
    used: ResolvedConnection,
    refusal: CredentialsRefused,
  ): Promise<ResolvedConnection | undefined> {
    if (refusal.status !== 401) return stepUp(used, refusal);
    const { grant, connection } = used;
    const current = await readGrant(deps, connection.uid);
    // Another call has had it renewed, or given up, meanwhile.
    if (current?.version !== grant?.version) {
      const stored = current && (await findConnectionByUid(deps.store, connection.uid));
      return stored && openFresh(stored);
    }
    const isFresh = grant !== undefined && used.renewed === grant.version;
    if (grant && isRenewable(grant) && !isFresh) return renewed(used, grant);
    return needLogin(used, refusal);
  }

  const recovering = new Map<string, Promise<ResolvedConnection | undefined>>();
  return {
    open,
    openFresh,
    recover(used, refusal) {
      // Calls that are refused together ask once.
      const { uid, targetVersion } = used.connection;
      const key = [uid, targetVersion, used.grant?.version, used.renewed, refusal.status].join(':');
      let work = recovering.get(key);
      if (!work) {
        work = recover(used, refusal).finally(() => recovering.delete(key));
        recovering.set(key, work);
      }
      return work;
    },
  };
}

/** Rolls the transaction back: the grant that was to be ended is no longer the stored one. */
class GrantReplaced extends Error {}
