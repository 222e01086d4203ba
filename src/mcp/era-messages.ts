import type { RpcAnswer } from './answer.ts';
import type { RequestId } from './message.ts';

/**
 * How messages of the two eras differ (MCP 2026-07-28, changelog), for whoever translates between them. What is not
 * named here is the same in both, and passes as it is.
 */

type Fields = Record<string, unknown>;

const prefix = 'io.modelcontextprotocol/';
const subscriptionKey = `${prefix}subscriptionId`;
const envelopeKeys = new Set([
  `${prefix}protocolVersion`,
  `${prefix}clientCapabilities`,
  `${prefix}clientInfo`,
  `${prefix}logLevel`,
]);

/** Results that say how long they may be kept (MCP 2026-07-28, server/utilities/caching). */
const cacheable = new Set([
  'server/discover',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'resources/read',
]);

/** Methods that may answer with questions of their own (MCP 2026-07-28, basic/patterns/mrtr). */
export const askingMethods: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read']);

/** What a server may ask of its client, in both eras. */
export const questions: ReadonlySet<string> = new Set([
  'elicitation/create',
  'sampling/createMessage',
  'roots/list',
]);

/** Methods that the modern era has no more (MCP 2026-07-28, changelog). */
export const legacyOnlyMethods: ReadonlySet<string> = new Set([
  'initialize',
  'ping',
  'logging/setLevel',
  'resources/subscribe',
  'resources/unsubscribe',
  'tasks/get',
  'tasks/list',
  'tasks/result',
  'tasks/cancel',
]);

/** What the envelope of a modern request says of its sender. */
export interface Envelope {
  capabilities: Fields;
  clientInfo: Fields | undefined;
  logLevel: string | undefined;
}

/** Reads the envelope in `params._meta`. */
export function readEnvelope(params: Fields | undefined): Envelope {
  const meta = fieldsOf(params?._meta);
  const level = meta[`${prefix}logLevel`];
  return {
    capabilities: fieldsOf(meta[`${prefix}clientCapabilities`]),
    clientInfo: isFields(meta[`${prefix}clientInfo`]) ? (meta[`${prefix}clientInfo`] as Fields) : undefined,
    logLevel: typeof level === 'string' ? level : undefined,
  };
}

/** The params of a modern request as a legacy server takes them: without the envelope, and without answers to questions. */
export function toLegacyParams(params: Fields | undefined): Fields | undefined {
  if (!params) return undefined;
  const { _meta, inputResponses: _responses, requestState: _state, ...rest } = params;
  const meta = Object.entries(fieldsOf(_meta)).filter(([key]) => !envelopeKeys.has(key));
  return meta.length > 0 ? { ...rest, _meta: Object.fromEntries(meta) } : rest;
}

/** The params of a legacy request in a modern envelope. */
export function toModernParams(params: Fields | undefined, revision: string, envelope: Envelope): Fields {
  const meta: Fields = {
    ...fieldsOf(params?._meta),
    [`${prefix}protocolVersion`]: revision,
    [`${prefix}clientCapabilities`]: envelope.capabilities,
  };
  if (envelope.clientInfo) meta[`${prefix}clientInfo`] = envelope.clientInfo;
  if (envelope.logLevel !== undefined) meta[`${prefix}logLevel`] = envelope.logLevel;
  return { ...params, _meta: meta };
}

/** Client capabilities as a legacy server takes them: tasks of 2025-11-25 would need their own methods here. */
export function toLegacyCapabilities({ tasks: _tasks, extensions: _extensions, ...rest }: Fields): Fields {
  return rest;
}

/** And back: to a modern server a plain `elicitation` says nothing of the form that it meant (MCP 2025-11-25, client/elicitation). */
export function toModernCapabilities({ tasks: _tasks, ...rest }: Fields): Fields {
  const { elicitation } = rest;
  return isFields(elicitation) && Object.keys(elicitation).length === 0
    ? { ...rest, elicitation: { form: {} } }
    : rest;
}

/** What a legacy result lacks as a modern one. `serverInfo` is the upstream's own. */
export function toModernResult(method: string, result: Fields, serverInfo: unknown): Fields {
  const meta = fieldsOf(result._meta);
  return {
    ...(cacheable.has(method) ? { ttlMs: 0, cacheScope: 'private' } : {}),
    ...result,
    resultType: 'complete',
    _meta: serverInfo === undefined ? meta : { [`${prefix}serverInfo`]: serverInfo, ...meta },
  };
}

/** A modern result without what only modern clients know. */
export function toLegacyResult(result: Fields): Fields {
  const { resultType: _type, ttlMs: _ttl, cacheScope: _scope, _meta, ...rest } = result;
  const { [`${prefix}serverInfo`]: _info, ...meta } = fieldsOf(_meta);
  return Object.keys(meta).length > 0 ? { ...rest, _meta: meta } : rest;
}

/** The answer to `server/discover`, from what a legacy server said to `initialize`. The revisions are the gateway's. */
export function toDiscoverResult(initialized: Fields, revisions: readonly string[]): Fields {
  const { tasks: _tasks, ...capabilities } = fieldsOf(initialized.capabilities);
  const { instructions, serverInfo } = initialized;
  const result = {
    supportedVersions: revisions,
    capabilities,
    ...(typeof instructions === 'string' ? { instructions } : {}),
  };
  return toModernResult('server/discover', result, serverInfo);
}

/** The answer to `initialize`, from what a modern server said to `server/discover`. `fallback` names one that does not say. */
export function toInitializeResult(discovered: Fields, revision: string, fallback: Fields): Fields {
  const { capabilities, instructions, _meta } = discovered;
  const serverInfo = fieldsOf(_meta)[`${prefix}serverInfo`] ?? discovered.serverInfo ?? fallback;
  return {
    protocolVersion: revision,
    capabilities: fieldsOf(capabilities),
    serverInfo,
    ...(typeof instructions === 'string' ? { instructions } : {}),
  };
}

const notFoundLegacy = -32002;
const invalidParams = -32602;
export const urlElicitationRequired = -32042;
export const missingCapability = -32021;

/** A legacy server's error to a modern client: "resource not found" is −32602 there (MCP 2026-07-28, changelog). */
export function toModernErrorCode(code: number): number {
  return code === notFoundLegacy ? invalidParams : code;
}

/** And back: only where the modern error names the resource, for −32602 says other things too. */
export function toLegacyErrorCode(method: string, { code, data }: { code: number; data: unknown }): number {
  const isNotFound = method === 'resources/read' && code === invalidParams && isFields(data) && 'uri' in data;
  return isNotFound ? notFoundLegacy : code;
}

/** A JSON-RPC response made of an answer. */
export function toMessage(id: RequestId, answer: RpcAnswer): Fields {
  if (answer.kind === 'result') return { jsonrpc: '2.0', id, result: answer.result };
  const { code, message, data } = answer;
  return { jsonrpc: '2.0', id, error: { code, message, ...(data === undefined ? {} : { data }) } };
}

/** A notification tagged with the subscription that it goes out on (MCP 2026-07-28, basic/patterns/subscriptions). */
export function tagged(method: string, params: Fields | undefined, subscriptionId: RequestId): Fields {
  const meta = { ...fieldsOf(params?._meta), [subscriptionKey]: subscriptionId };
  return { jsonrpc: '2.0', method, params: { ...params, _meta: meta } };
}

/** A notification without that tag. */
export function untagged(method: string, params: Fields | undefined): Fields {
  const { [subscriptionKey]: _id, ...meta } = fieldsOf(params?._meta);
  const { _meta: _old, ...rest } = params ?? {};
  const kept = Object.keys(meta).length > 0 ? { ...rest, _meta: meta } : rest;
  return { jsonrpc: '2.0', method, ...(Object.keys(kept).length > 0 ? { params: kept } : {}) };
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `value` if it is an object, else an empty one. */
export function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {};
}
