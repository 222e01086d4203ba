import { errorMessage } from '../mcp/answer.ts';
import type { RequestId } from '../mcp/message.ts';
import { ApiError } from '../platform/errors.ts';
import type { GatewayDeps } from './deps.ts';
import type { RefuseWaiting } from './reach.ts';
import type { Downstream } from './relay-call.ts';
import { writeJson } from './write-json.ts';

/** The answers that the Connect API gives while the user of the connection must act (api.md §3.3). */
export function refuseWaiting({ setupUrl }: GatewayDeps): RefuseWaiting {
  return (connection, status) => {
    if (status.state === 'input_required') {
      return new ApiError('mcp_input_required', { data: { http: status.http, missing: status.missing } });
    }
    return new ApiError('mcp_authorization_required', { data: { authorizationUrl: setupUrl(connection) } });
  };
}

/** Answers with the JSON-RPC form of an error, unless the caller has an answer already or is gone. */
export function answerError(
  deps: GatewayDeps,
  downstream: Downstream,
  id: RequestId | undefined,
  error: unknown,
): void {
  const { response } = downstream;
  if (response.headersSent || response.destroyed) return;
  const known = error instanceof ApiError ? error : new ApiError('internal_error', { cause: error });
  downstream.entry.failed(known.code);
  if (known.status === 500) deps.log.error({ err: error }, 'a relayed call failed');
  writeJson(downstream, known.status, errorMessage(known, id), known.answerHeaders());
}
