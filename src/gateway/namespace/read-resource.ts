import type { RpcAnswer } from '../../mcp/answer.ts';
import { ApiError } from '../../platform/errors.ts';
import type { GatewayDeps } from '../deps.ts';
import { askConnection } from './ask-connection.ts';
import type { Asked } from './params.ts';
import { readableAnswer } from './readable-uris.ts';
import { readNamespaceUri } from './resource-uri.ts';

/**
 * `resources/read`, by the resource's URI in the namespace. It need not be listed: templates and links lead to more.
 * Throws ApiError: `validation_error`, and as `askOwner` does.
 */
export async function readNamespaceResource(deps: GatewayDeps, asked: Asked): Promise<RpcAnswer> {
  const { uri } = asked.params;
  if (typeof uri !== 'string') {
    throw new ApiError('validation_error', { message: 'params.uri: must be a string.' });
  }
  return askOwner(deps, asked, uri, 'resources/read', (own) => ({ ...asked.params, uri: own }));
}

/**
 * Asks the server that has the resource or template `uri`, with the params for its own URI. A URI of no connection is
 * the error −32602, which names it (MCP 2026-07-28, server/resources). Throws ApiError as `askConnection` does.
 */
export async function askOwner(
  deps: GatewayDeps,
  { caller, entry }: Asked,
  uri: string,
  method: string,
  paramsFor: (own: string) => Record<string, unknown>,
): Promise<RpcAnswer> {
  const address = readNamespaceUri(uri);
  if (!address) return notFound(uri);
  const { connectionId, own } = address;
  entry.connectionId = connectionId;
  try {
    const answer = await askConnection(deps, caller, connectionId, method, paramsFor(own));
    return readableAnswer(connectionId, method, answer);
  } catch (error) {
    // To the caller the connection is a part of the URI.
    if (error instanceof ApiError && error.code === 'connection_not_found') return notFound(uri);
    throw error;
  }
}

function notFound(uri: string): RpcAnswer {
  return { kind: 'error', code: -32602, message: 'Resource not found', data: { uri: uri.slice(0, 2000) } };
}
