import { errorMessage } from '../../mcp/answer.ts';
import type { RequestId } from '../../mcp/message.ts';
import { ApiError } from '../../platform/errors.ts';
import type { GatewayDeps } from '../deps.ts';
import type { Downstream } from '../relay-call.ts';
import type { AnswerStream } from './answer-stream.ts';

/** Ends a bridged request with the JSON-RPC form of an error. One of the call's own is no error of HTTP. */
export function endWithError(
  { log }: GatewayDeps,
  stream: AnswerStream,
  { entry }: Downstream,
  id: RequestId | undefined,
  error: unknown,
): void {
  const known = error instanceof ApiError ? error : new ApiError('internal_error', { cause: error });
  if (known.status === 500) log.error({ err: error }, 'a bridged call failed');
  entry.failed(known.code);
  const status = known.code === 'tool_error' ? 200 : known.status;
  stream.end(status, errorMessage(known, id), known.answerHeaders());
}
