import { findTopLevelId } from '../mcp/json-scan.ts';
import { ApiError } from '../platform/errors.ts';
import type { RelayCall } from './relay-call.ts';

/**
 * `body`, a JSON-RPC request that is known to parse, with the id `ours` instead of its own, which is `theirs` as it was written;
 * restore-id.ts puts it back. Not a byte besides differs. Throws ApiError `invalid_message` unless there is one id.
 */
export function replaceId(body: Buffer, ours: string): Pick<RelayCall, 'body' | 'replacedId'> {
  const span = findTopLevelId(body);
  if (span === undefined || span === 'repeated') {
    throw new ApiError('invalid_message', { message: '"id" must be there once.' });
  }
  const { start, end } = span;
  const replaced = Buffer.allocUnsafe(body.length - (end - start) + ours.length + 2);
  body.copy(replaced, 0, 0, start);
  replaced.write(`"${ours}"`, start, 'latin1');
  body.copy(replaced, start + ours.length + 2, end);
  return { body: replaced, replacedId: { ours, theirs: body.subarray(start, end) } };
}
