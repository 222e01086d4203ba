import type { IncomingHttpHeaders } from 'node:http';
import type { AuditEntry } from '../../audit/entry.ts';
import type { RpcAnswer } from '../../mcp/answer.ts';
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
import { viaHeader } from '../via.ts';
import { callNamespaceTool } from './call-tool.ts';
import { listNamespaceTools, unavailableMeta } from './list-tools.ts';
import { callSearchTool, searchInstructions, searchToolDefinitions } from './search/search-mode.ts';
import type { NamespaceCaller } from './visible-connections.ts';

/** One POST to the endpoint of a namespace, by a caller who may execute there. */
export interface NamespacePost {
  namespace: string;
  headers: IncomingHttpHeaders;
  /** Offers tools that find tools and call them, instead of all tools. */
  search: boolean;
  body: Buffer;
  /** Ends with the caller. */
  signal: AbortSignal;
  entry: AuditEntry;
}

type Result = Record<string, unknown>;
type Params = Record<string, unknown>;

const serverInfo = { name: 'patchbay', title: 'Patchbay', version };
const serverInfoKey = 'io.modelcontextprotocol/serverInfo';
const capabilities = { tools: {} };
/** Connections come and go, and each caller may see others (MCP 2026-07-28, server/utilities/caching). */
const uncached = { ttlMs: 0, cacheScope: 'private' };

/**
 * The JSON-RPC answer to one request. Throws ApiError: `method_not_found`, `validation_error`, and what listing and
 * calling throw.
 */
export async function answerRequest(
  deps: GatewayDeps,
  post: NamespacePost,
  { method, id, params = {} }: IncomingMessage & { id: RequestId },
  era: Era,
): Promise<Record<string, unknown>> {
  const answer = await answerMethod(deps, post, method, params, era);
  if (answer.kind === 'error') {
    const { code, message, data } = answer;
    post.entry.answeredError(code);
    return { jsonrpc: '2.0', id, error: { code, message, ...(data === undefined ? {} : { data }) } };
  }
  if (answer.result.isError === true) post.entry.toolFailed();
  return { jsonrpc: '2.0', id, result: era === 'modern' ? modernResult(answer.result) : answer.result };
}

async function answerMethod(
  deps: GatewayDeps,
  post: NamespacePost,
  method: string | undefined,
  params: Params,
  era: Era,
): Promise<RpcAnswer> {
  if (method === 'tools/list') return result(await listTools(deps, post, params, era));
  if (method === 'tools/call') {
    const { name, arguments: args, _meta, ...rest } = params;
    const { headers, entry } = post;
    const call = { name: readName(name), args: readArguments(args), rest, mirror: undefined, entry };
    if (post.search) return callSearchTool(deps, callerOf(post), call);
    return callNamespaceTool(deps, callerOf(post), {
      ...call,
      mirror: era === 'modern' ? headers : undefined,
    });
  }
  if (era === 'modern' && method === 'server/discover') {
    return result({ supportedVersions: [latestModernRevision], ...offer(post), ...uncached });
  }
  if (era === 'legacy' && method === 'initialize') return result({ ...initialize(params), ...offer(post) });
  if (era === 'legacy' && method === 'ping') return result({});
  throw new ApiError('method_not_found');
}

function result(value: Result): RpcAnswer {
  return { kind: 'result', result: value };
}

function callerOf({ namespace, headers, signal }: NamespacePost): NamespaceCaller {
  return { namespace, via: viaHeader(headers.via), signal };
}

function offer({ search }: NamespacePost): Result {
  return search ? { capabilities, instructions: searchInstructions } : { capabilities };
}

/** Who cannot speak the revision that a caller asks for answers with one it can (MCP 2025-11-25, basic/lifecycle). */
function initialize({ protocolVersion: asked }: Params): Result {
  if (typeof asked !== 'string') {
    throw new ApiError('validation_error', { message: 'params.protocolVersion: must be a string.' });
  }
  const protocolVersion = legacyRevisions.includes(asked) ? asked : latestLegacyRevision;
  return { protocolVersion, serverInfo };
}

/** All on one page, so a cursor is none of ours. Definitions pass as they are but for the name. */
async function listTools(
  deps: GatewayDeps,
  post: NamespacePost,
  { cursor }: Params,
  era: Era,
): Promise<Result> {
  if (cursor !== undefined) throw new ApiError('validation_error', { message: 'params.cursor: is unknown.' });
  const caching = era === 'modern' ? uncached : {};
  if (post.search) return { tools: searchToolDefinitions(deps.limits), ...caching };
  const { tools, unavailable } = await listNamespaceTools(deps, callerOf(post));
  const definitions = Array.from(tools, ([name, { definition }]) => ({ ...definition, name }));
  return { tools: definitions, ...caching, ...unavailableMeta(unavailable) };
}

function readName(name: unknown): string {
  if (typeof name === 'string') return name;
  throw new ApiError('validation_error', { message: 'params.name: must be a string.' });
}

function readArguments(args: unknown): Record<string, unknown> {
  if (args === undefined) return {};
  if (typeof args === 'object' && args !== null && !Array.isArray(args)) {
    return args as Record<string, unknown>;
  }
  throw new ApiError('validation_error', { message: 'params.arguments: must be an object.' });
}

/** What every modern result says; what an upstream says itself stays (MCP 2026-07-28, basic/index). */
function modernResult(value: Result): Result {
  const meta = typeof value._meta === 'object' ? value._meta : {};
  return { resultType: 'complete', ...value, _meta: { [serverInfoKey]: serverInfo, ...meta } };
}
