import type { Contract } from './harness.ts';

/**
 * Gives a connection of the namespace `default` a status that nothing sets yet. Only for connections that no
 * tool or MCP call has used: the data path remembers what it read, and the tables do not tell it.
 */
export async function storeStatus(
  contract: Contract,
  connectionId: string,
  status: Record<string, unknown>,
): Promise<void> {
  const { numUpdatedRows } = await contract.pb.store.db
    .updateTable('connections')
    .set({ status: JSON.stringify(status), probe_at: null })
    .where('namespace', '=', 'default')
    .where('id', '=', connectionId)
    .executeTakeFirstOrThrow();
  if (numUpdatedRows !== 1n) throw new Error(`there is no connection ${connectionId}`);
}
