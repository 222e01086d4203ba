import type { ApiError } from '../platform/errors.ts';
import type { RequestId } from './message.ts';

/** The JSON-RPC form of an error (JSON-RPC 2.0 §5.1); `id` is null when the request's could not be read. */
export function errorMessage(error: ApiError, id: RequestId | undefined): Record<string, unknown> {
  return {
    jsonrpc: '2.0',
    id: id ?? null,
    error: {
      code: error.rpc,
      message: error.message,
      ...(error.data === undefined ? {} : { data: error.data }),
    },
  };
}

/** What an upstream said in answer to one request. */
export type RpcAnswer =
  | { kind: 'result'; result: Record<string, unknown> }
  | { kind: 'error'; code: number; message: string; data: unknown };

/** Reads a JSON-RPC response to request `id`; undefined if `value` is none, or answers another request. */
export function readAnswer(value: unknown, id: RequestId): RpcAnswer | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const message = value as Record<string, unknown>;
  if (message.jsonrpc !== '2.0') return undefined;
  const error = message.error;
  if (typeof error === 'object' && error !== null) {
    // A server that could not read the request answers with id null (JSON-RPC 2.0 §5).
    if (message.id !== id && message.id !== null && message.id !== undefined) return undefined;
    const { code, message: text, data } = error as Record<string, unknown>;
    return {
      kind: 'error',
      code: typeof code === 'number' ? code : 0,
      message: typeof text === 'string' ? text : '',
      data,
    };
  }
  const result = message.result;
  if (message.id !== id || typeof result !== 'object' || result === null) return undefined;
  return { kind: 'result', result: result as Record<string, unknown> };
}
