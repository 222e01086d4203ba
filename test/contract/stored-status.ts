import { expect } from 'vitest';
import type { Contract } from './harness.ts';

/**
 * Gives a connection of the namespace `default` a status, as a probe would have found it. Only for connections that no
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

/** Matches the setup URL of a connection, in a text or as one; `expect` shows it as a pattern. */
export function setupUrlOf(contract: Contract, connectionId: string): unknown {
  const url = `${contract.url}/default/${encodeURIComponent(connectionId)}/setup?ticket=`;
  return expect.stringContaining(url);
}

/** How a reader of the API gets a stored status for which its user must act: with a setup URL of its own. */
export function withSetupUrl(
  contract: Contract,
  connectionId: string,
  status: Record<string, unknown>,
): Record<string, unknown> {
  const setupUrl = setupUrlOf(contract, connectionId);
  return {
    ...status,
    setupUrl,
    ...(status.state === 'auth_required' && { authorizationUrl: setupUrl }),
  };
}
