import type { RpcAnswer } from '../../mcp/answer.ts';
import {
  toLegacyErrorCode,
  toLegacyResult,
  toMessage,
  toModernErrorCode,
  toModernResult,
} from '../../mcp/era-messages.ts';
import { type ListName, lists } from '../../mcp/lists.ts';
import type { IncomingMessage, RequestId } from '../../mcp/message.ts';
import {
  type Era,
  latestLegacyRevision,
  latestModernRevision,
  legacyRevisions,
} from '../../mcp/revisions.ts';
import { ApiError } from '../../platform/errors.ts';
import { version } from '../../platform/version.ts';
import type { GatewayDeps } from '../deps.ts';
import { listRequest } from '../rpc-request.ts';
import { callNamespaceTool } from './call-tool.ts';
import { completeInNamespace } from './complete.ts';
import { getNamespacePrompt } from './get-prompt.ts';
import { listNamespace, missingMeta } from './list-items.ts';
import { callerOf, type NamespacePost } from './namespace-post.ts';
import { type Asked, readArguments, readName } from './params.ts';
import { readNamespaceResource } from './read-resource.ts';
import { callSearchTool, searchInstructions, searchToolDefinitions } from './search/search-mode.ts';

type Fields = Record<string, unknown>;

const serverInfo = { name: 'patchbay', title: 'Patchbay', version };
const listOfMethod = new Map(
  Object.entries(lists).map(([list, { method }]) => [method as string, list as ListName]),
);

/**
 * The JSON-RPC answer to one request, as callers of `era` take it. Throws ApiError: `method_not_found`,
 * `validation_error`, `tool_error` where a server asks something back, and what listing and asking throw.
 */
export async function answerRequest(
  deps: GatewayDeps,
  post: NamespacePost,
  { method = '', id, params = {} }: IncomingMessage & { id: RequestId },
  era: Era,
): Promise<Fields> {
  const answer = await answerMethod(deps, post, method, params, era);
  if (answer.kind === 'error') {
    const code = era === 'modern' ? toModernErrorCode(answer.code) : toLegacyErrorCode(method, answer);
    post.entry.answeredError(code);
    return toMessage(id, { ...answer, code });
  }
  requireComplete(answer.result);
  if (answer.result.isError === true) post.entry.toolFailed();
  const result =
    era === 'modern' ? toModernResult(method, answer.result, serverInfo) : toLegacyResult(answer.result);
  return toMessage(id, { kind: 'result', result });
}

async function answerMethod(
  deps: GatewayDeps,
  post: NamespacePost,
  method: string,
  { _meta, ...params }: Fields,
  era: Era,
): Promise<RpcAnswer> {
  const list = listOfMethod.get(method);
  if (list) return result(await answerList(deps, post, list, params));
  const asked = askedOf(post, params);
  switch (method) {
    case 'tools/call':
      return callTool(deps, post, asked, era);
    case 'prompts/get':
      return getNamespacePrompt(deps, asked);
    case 'resources/read':
      return readNamespaceResource(deps, asked);
    case 'completion/complete':
      return completeInNamespace(deps, asked);
  }
  if (era === 'modern' && method === 'server/discover') {
    return result({ supportedVersions: [latestModernRevision], ...offer(post) });
  }
  if (era === 'legacy' && method === 'initialize') return result({ ...initialize(params), ...offer(post) });
  if (era === 'legacy' && method === 'ping') return result({});
  throw new ApiError('method_not_found');
}

function result(value: Fields): RpcAnswer {
  return { kind: 'result', result: value };
}

function askedOf(post: NamespacePost, params: Fields): Asked {
  return { caller: callerOf(post), params, entry: post.entry };
}

/** A server of the modern era may ask back instead of answering (MCP 2026-07-28, basic/patterns/mrtr). */
function requireComplete({ resultType = 'complete' }: Fields): void {
  if (resultType === 'complete') return;
  throw new ApiError('tool_error', {
    message: `The server answered "${String(resultType).slice(0, 40)}", which only a client of the connection’s own endpoint can go on with.`,
  });
}

function offer({ search }: NamespacePost): Fields {
  const changing = { listChanged: true };
  const capabilities = {
    tools: search ? {} : changing,
    prompts: changing,
    resources: changing,
    completions: {},
  };
  return search ? { capabilities, instructions: searchInstructions } : { capabilities };
}

/** Who cannot speak the revision that a caller asks for answers with one it can (MCP 2025-11-25, basic/lifecycle). */
function initialize({ protocolVersion: asked }: Fields): Fields {
  if (typeof asked !== 'string') {
    throw new ApiError('validation_error', { message: 'params.protocolVersion: must be a string.' });
  }
  const protocolVersion = legacyRevisions.includes(asked) ? asked : latestLegacyRevision;
  return { protocolVersion, serverInfo };
}

/** All on one page, so a cursor is none of ours. Definitions pass as they are but for the name. */
async function answerList(
  deps: GatewayDeps,
  post: NamespacePost,
  list: ListName,
  params: Fields,
): Promise<Fields> {
  if (params.cursor !== undefined) {
    throw new ApiError('validation_error', { message: 'params.cursor: is unknown.' });
  }
  if (post.search && list === 'tools') return { tools: searchToolDefinitions(deps.limits) };
  const caller = { ...callerOf(post), request: listRequest(list) };
  const { items, ...missing } = await listNamespace(deps, caller, list);
  const { member, key } = lists[list];
  const named = Array.from(items, ([name, { definition }]) => ({ ...definition, [key]: name }));
  return { [member]: named, ...missingMeta(missing) };
}

function callTool(
  deps: GatewayDeps,
  post: NamespacePost,
  { caller, params }: Asked,
  era: Era,
): Promise<RpcAnswer> {
  const { name: _name, arguments: _arguments, ...rest } = params;
  const { headers, entry, search } = post;
  const call = { name: readName(params), args: readArguments(params), rest, mirror: undefined, entry };
  if (search) return callSearchTool(deps, caller, call);
  return callNamespaceTool(deps, caller, { ...call, mirror: era === 'modern' ? headers : undefined });
}
