import { ApiError } from '../platform/errors.ts';
import { version } from '../platform/version.ts';
import { assumedRevision, type Era, eraOf, isRevision } from './revisions.ts';

export type RequestId = string | number;

/** What the data plane reads of a JSON-RPC request or notification; the rest travels as bytes. */
export interface IncomingMessage {
  /** undefined for a response. */
  method: string | undefined;
  /** undefined for what has no answer: a notification, or a response. */
  id: RequestId | undefined;
  params: Record<string, unknown> | undefined;
}

const versionKey = 'io.modelcontextprotocol/protocolVersion';

/**
 * Reads one JSON-RPC request or notification (JSON-RPC 2.0 §4).
 * Throws ApiError `invalid_message` for batches (gone since MCP 2025-06-18), responses (this endpoint asks
 * callers nothing) and anything else.
 */
export function readMessage(value: unknown): IncomingMessage {
  if (Array.isArray(value))
    throw new ApiError('invalid_message', {
      message: 'JSON-RPC batches are not supported; send one message a POST.',
    });
  if (typeof value !== 'object' || value === null) throw new ApiError('invalid_message');
  const { jsonrpc, id, method, params } = value as Record<string, unknown>;
  if (jsonrpc !== '2.0') throw new ApiError('invalid_message', { message: '"jsonrpc" must be "2.0".' });
  if (typeof method !== 'string' || method === '') {
    throw new ApiError('invalid_message', { message: '"method" must be a non-empty string.' });
  }
  if (id !== undefined && typeof id !== 'string' && !(typeof id === 'number' && Number.isFinite(id))) {
    throw new ApiError('invalid_message', { message: '"id" must be a string or a number.' });
  }
  if (params !== undefined && (typeof params !== 'object' || params === null || Array.isArray(params))) {
    throw new ApiError('invalid_message', { message: '"params" must be an object.' });
  }
  return { method, id, params: params as Record<string, unknown> | undefined };
}

/** Whether a JSON-RPC message is a response: what a legacy client posts to answer a request of the server. */
export function isResponse(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const { jsonrpc, id, method, result, error } = value as Record<string, unknown>;
  const isAnswer = (result === undefined) !== (error === undefined);
  return (
    jsonrpc === '2.0' &&
    method === undefined &&
    isAnswer &&
    (typeof id === 'string' || typeof id === 'number')
  );
}

/**
 * The revision and era of a request: the `_meta` envelope makes it modern whatever the headers say
 * (MCP 2026-07-28, basic/versioning); else MCP-Protocol-Version; else the assumed revision.
 * `stated` tells whether the caller said so itself. Throws ApiError `bad_request` for a header that is no revision.
 */
export function revisionOf(
  message: IncomingMessage,
  header: string | undefined,
): { revision: string; era: Era; stated: boolean } {
  const meta = message.params?._meta;
  const enveloped =
    typeof meta === 'object' && meta !== null ? (meta as Record<string, unknown>)[versionKey] : undefined;
  if (typeof enveloped === 'string') return { revision: enveloped, era: 'modern', stated: true };
  // `initialize` is the legacy handshake, and names its revision itself (MCP 2025-11-25, basic/lifecycle).
  const asked = message.method === 'initialize' ? message.params?.protocolVersion : undefined;
  if (typeof asked === 'string') return { revision: asked.slice(0, 40), era: 'legacy', stated: true };
  if (header === undefined) return { revision: assumedRevision, era: 'legacy', stated: false };
  if (!isRevision(header)) {
    throw new ApiError('bad_request', {
      message: 'The MCP-Protocol-Version header is no protocol revision.',
    });
  }
  return { revision: header, era: eraOf(header), stated: true };
}

/** `_meta` of a modern request: what every request must carry (MCP 2026-07-28, basic/index). */
export function modernMeta(revision: string): Record<string, unknown> {
  return {
    [versionKey]: revision,
    'io.modelcontextprotocol/clientInfo': clientInfo,
    'io.modelcontextprotocol/clientCapabilities': {},
  };
}

/** Who Patchbay says it is, as a client of an upstream. */
export const clientInfo = { name: 'patchbay', title: 'Patchbay', version };
