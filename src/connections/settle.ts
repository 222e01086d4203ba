import { UpstreamFault } from '../upstream/fault.ts';
import type { Connection } from './connection.ts';
import type { CredentialedDeps } from './credentials.ts';
import { findConnectionByUid } from './find.ts';
import { loginAsClient } from './oauth/client-login.ts';
import type { LoginNeed } from './oauth/login-need.ts';
import { adoptSession, type Finding, failed, probe, releaseSession } from './probe.ts';
import { findingColumns, storeFinding } from './store-finding.ts';

/**
 * Does what a connection that was just stored needs and no person has to do: a login as the client that the tenant has
 * configured for its server, where the probe found `login`. One that fails makes the connection's status, and is tried again by its next probe.
 * Returns the connection as it is then.
 */
export async function settle(
  deps: CredentialedDeps,
  connection: Connection,
  login: LoginNeed | undefined,
): Promise<Connection> {
  const { status, uid, namespace, mcpUrl, inputs } = connection;
  // With a person to ask, the connection waits for that.
  if (!login || status.state !== 'error') return connection;
  try {
    const outcome = await loginAsClient(deps, connection, login);
    if (outcome === 'not_configured') return connection;
    if (outcome === 'beaten') return (await findConnectionByUid(deps.store, uid)) ?? connection;
  } catch (fault) {
    if (!(fault instanceof UpstreamFault)) throw fault;
    return store(deps, connection, failed(fault, deps.clock.now()));
  }
  const current = await findConnectionByUid(deps.store, uid);
  if (!current) return connection;
  const { headers, grant } = await deps.credentials.open(current);
  const version = current.targetVersion;
  const known = current.protocol;
  const subject = { uid, version, namespace, mcpUrl, headers, inputs, grant, known };
  return store(deps, current, await probe(deps, { ...subject, wasRefused: true, mayRegister: false }));
}

async function store(deps: CredentialedDeps, connection: Connection, finding: Finding): Promise<Connection> {
  const columns = findingColumns(finding, connection.probeAttempt, deps);
  const found = { status: finding.status, columns };
  const stored = await storeFinding(deps, connection, found, { unlessNewer: false });
  if (stored) adoptSession(deps.sessions, finding);
  else releaseSession(deps.sessions, finding);
  return stored ?? connection;
}
