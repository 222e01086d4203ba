import { UpstreamFault } from '../upstream/fault.ts';
import type { Connection } from './connection.ts';
import type { CredentialedDeps } from './credentials.ts';
import { findConnectionByUid } from './find.ts';
import { loginAsClient } from './oauth/client-login.ts';
import { adoptSession, probe, releaseSession } from './probe.ts';
import { findingColumns, storeFinding } from './store-finding.ts';

/**
 * Does what a connection that was just stored needs and no person has to do: a login as a client that the tenant has
 * configured for its server. Returns the connection as it is then.
 */
export async function settle(deps: CredentialedDeps, connection: Connection): Promise<Connection> {
  const { status, login, uid, namespace, mcpUrl, inputs } = connection;
  if (status.state !== 'auth_required' || !login) return connection;
  try {
    if (!(await loginAsClient(deps, connection, login))) return connection;
  } catch (fault) {
    if (!(fault instanceof UpstreamFault)) throw fault;
    deps.log.warn({ connection: uid, reason: fault.message }, 'a connection could not log in as a client');
    return connection;
  }
  const current = await findConnectionByUid(deps.store, uid);
  if (!current) return connection;
  const { headers, grant } = await deps.credentials.open(current);
  const version = current.targetVersion;
  const finding = await probe(deps, { uid, version, namespace, mcpUrl, headers, inputs, grant });
  const found = { status: finding.status, columns: findingColumns(finding, 0, deps) };
  const stored = await storeFinding(deps, current, found, { unlessNewer: false });
  if (stored) adoptSession(deps.sessions, finding);
  else releaseSession(deps.sessions, finding);
  return stored ?? current;
}
