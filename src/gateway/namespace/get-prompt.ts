import type { RpcAnswer } from '../../mcp/answer.ts';
import type { GatewayDeps } from '../deps.ts';
import { askConnection } from './ask-connection.ts';
import { findByName } from './find-item.ts';
import { type Asked, readName } from './params.ts';
import { readableAnswer } from './readable-uris.ts';

/**
 * `prompts/get`, by the prompt's name in the namespace; one that no prompt has is the error −32602 (MCP 2025-11-25,
 * server/prompts). Throws ApiError: `validation_error`, and as `askConnection` does.
 */
export async function getNamespacePrompt(
  deps: GatewayDeps,
  { caller, params, entry }: Asked,
): Promise<RpcAnswer> {
  const found = await findByName(deps, caller, 'prompts', readName(params));
  if (found.kind === 'error') return found;
  const { connectionId, own: name } = found.listed;
  entry.connectionId = connectionId;
  const answer = await askConnection(deps, caller, connectionId, 'prompts/get', { ...params, name });
  return readableAnswer(connectionId, 'prompts/get', answer);
}
