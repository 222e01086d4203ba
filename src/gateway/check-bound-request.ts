import { isUtf8 } from 'node:buffer';
import { hasRepeatedKey } from '../mcp/json-scan.ts';
import { ApiError } from '../platform/errors.ts';

const responseKeys = ['jsonrpc', 'id', 'result', 'error'];

/**
 * Holds a message whose sender is bound to requests (rpcReqMatch) to one meaning: what was decided on here must be what
 * the server reads in the same bytes. Readers differ in which of two equal keys counts, some take keys for equal that
 * differ in case, and in what bytes that are no UTF-8 stand for. `value` is the parsed `body`. Throws ApiError `invalid_message`.
 */
export function checkBoundRequest(body: Buffer, value: unknown): void {
  if (!isUtf8(body)) throw new ApiError('invalid_message', { message: 'The body must be UTF-8.' });
  if (hasRepeatedKey(body)) {
    throw new ApiError('invalid_message', {
      message: 'With this token, no object in the body may have two keys that are equal but for their case.',
    });
  }
  if (typeof value !== 'object' || value === null || 'method' in value) return;
  const extra = Object.keys(value).find((key) => !responseKeys.includes(key));
  if (extra !== undefined) {
    throw new ApiError('invalid_message', {
      message: `With this token, a response has no members but ${responseKeys.join(', ')}.`,
    });
  }
}
