import { toModernResult } from '../mcp/era-messages.ts';
import type { RequestId } from '../mcp/message.ts';
import { ApiError } from '../platform/errors.ts';
import type { GatewayDeps } from './deps.ts';
import { fetchList } from './fetch-list.ts';
import type { ReachedConnection } from './reach.ts';
import type { Downstream } from './relay-call.ts';
import { writeJson } from './write-json.ts';

/**
 * Answers `tools/list` at the MCP endpoint of a connection whose namespace has quarantine: all pages in one, as the server
 * lists them to a client without capabilities, and without what nobody has accepted. Throws ApiError.
 */
export async function answerGuardedList(
  deps: GatewayDeps,
  reached: ReachedConnection,
  { id, isModern }: { id: RequestId | undefined; isModern: boolean },
  downstream: Downstream,
): Promise<void> {
  const tools = await fetchList(deps, reached, 'tools', signalOf(downstream));
  const listed = { tools, ...(await deps.toolGuard.listMeta(reached.connection)) };
  const result = isModern ? toModernResult('tools/list', listed, reached.connection.serverInfo) : listed;
  if (!downstream.response.destroyed) writeJson(downstream, 200, { jsonrpc: '2.0', id, result });
}

/**
 * Makes sure in a namespace with quarantine that somebody has accepted the tool of a `tools/call`, from a list that is not older
 * than `quarantineLookMs`. Throws ApiError `tool_quarantined`, `tool_not_found`, and as `fetchList` does.
 */
export async function requireAcceptedTool(
  deps: GatewayDeps,
  reached: ReachedConnection,
  name: unknown,
  caller: AbortSignal,
): Promise<void> {
  if (!(await deps.toolGuard.guards(reached.connection.namespace))) return;
  if (typeof name !== 'string') {
    throw new ApiError('validation_error', { message: 'params.name: must be a string.' });
  }
  if (!deps.toolGuard.isFresh(reached.connection)) await fetchList(deps, reached, 'tools', caller);
  await deps.toolGuard.requireAccepted(reached.connection, name);
}

/** A caller has listed the tools without us: they are looked at in the background, now and then. */
export function noteListing(deps: GatewayDeps, reached: ReachedConnection): void {
  if (!deps.toolGuard.isLookDue(reached.connection)) return;
  const signal = AbortSignal.any([deps.stopping, AbortSignal.timeout(deps.limits.listMs)]);
  // Whatever goes wrong, the caller has an answer, and there will be another look.
  fetchList(deps, reached, 'tools', signal).catch((error: unknown) => {
    deps.log.debug({ err: error, connection: reached.connection.uid }, 'tools could not be looked at');
  });
}

/** Aborted when the caller goes away. */
export function signalOf({ response }: Downstream): AbortSignal {
  const left = new AbortController();
  response.once('close', () => left.abort());
  return left.signal;
}
