import type { RpcAnswer } from '../../mcp/answer.ts';
import { fieldsOf } from '../../mcp/era-messages.ts';
import { ApiError } from '../../platform/errors.ts';
import type { GatewayDeps } from '../deps.ts';
import { askConnection } from './ask-connection.ts';
import { findByName } from './find-item.ts';
import type { Asked } from './params.ts';
import { askOwner } from './read-resource.ts';

const method = 'completion/complete';
const methodNotFound = -32601;

/**
 * `completion/complete` for a prompt or a resource template of the namespace. A server that completes nothing gives no
 * values; a reference to nothing is the error −32602 (MCP 2025-11-25, server/utilities/completion).
 * Throws ApiError: `validation_error`, and as `askConnection` does.
 */
export async function completeInNamespace(deps: GatewayDeps, asked: Asked): Promise<RpcAnswer> {
  const answer = await ask(deps, asked);
  if (answer.kind === 'result' || answer.code !== methodNotFound) return answer;
  return { kind: 'result', result: { completion: { values: [], total: 0, hasMore: false } } };
}

async function ask(deps: GatewayDeps, asked: Asked): Promise<RpcAnswer> {
  const { caller, params, entry } = asked;
  const ref = fieldsOf(params.ref);
  if (ref.type === 'ref/resource' && typeof ref.uri === 'string') {
    return askOwner(deps, asked, ref.uri, method, (own) => ({ ...params, ref: { ...ref, uri: own } }));
  }
  if (ref.type !== 'ref/prompt' || typeof ref.name !== 'string') {
    throw new ApiError('validation_error', {
      message: 'params.ref: must name a prompt or a resource template.',
    });
  }
  const found = await findByName(deps, caller, 'prompts', ref.name);
  if (found.kind === 'error') return found;
  const { connectionId, own: name } = found.listed;
  entry.connectionId = connectionId;
  return askConnection(deps, caller, connectionId, method, { ...params, ref: { ...ref, name } });
}
