import { isDeeperThan } from '../mcp/json-scan.ts';
import { ApiError } from '../platform/errors.ts';

/** The JSON of a message's body. Throws ApiError `invalid_json`, also for what nests deeper than `maxDepth`. */
export function parseBody(body: Buffer, maxDepth: number): unknown {
  if (isDeeperThan(body, maxDepth)) {
    throw new ApiError('invalid_json', { message: `The body nests deeper than ${maxDepth} levels.` });
  }
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new ApiError('invalid_json', { cause });
  }
}
