import type { Connection } from '../connections/connection.ts';
import { allConnections } from '../connections/list.ts';
import { connectionScope } from '../identity/permits.ts';
import type { GatewayDeps } from './deps.ts';
import type { Caller } from './reach.ts';
import type { RpcRequest } from './rpc-request.ts';

/**
 * The connections of a namespace that the caller may execute on, oldest first; to it there are no others. With `request`,
 * those that the caller may send it to.
 */
export async function visibleConnections(
  { store, limits }: GatewayDeps,
  { principal, namespace }: Caller,
  request?: RpcRequest,
): Promise<Connection[]> {
  const scope = connectionScope(principal, 'connections:execute', namespace, request);
  if (!scope) return [];
  const connections: Connection[] = [];
  for await (const connection of allConnections(store, namespace, scope, limits.listPage)) {
    connections.push(connection);
  }
  return connections;
}
