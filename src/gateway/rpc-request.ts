import { type ListName, lists } from '../mcp/lists.ts';

/** A JSON-RPC request that is to go to the server of a connection, parsed: tokens may be bound to it (api.md §6, rpcReqMatch). */
export type RpcRequest = Readonly<Record<string, unknown>>;

/** What Patchbay sends when it asks by itself. */
export function rpcRequest(method: string, params: Record<string, unknown>): RpcRequest {
  return { jsonrpc: '2.0', method, params };
}

/** The request for one of the lists. */
export function listRequest(list: ListName): RpcRequest {
  return rpcRequest(lists[list].method, {});
}
