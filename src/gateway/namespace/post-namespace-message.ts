import type { IncomingHttpHeaders } from 'node:http';
import { errorMessage } from '../../mcp/answer.ts';
import { sessionHeader, statelessSession, versionHeader } from '../../mcp/headers.ts';
import { type IncomingMessage, type RequestId, readMessage, revisionOf } from '../../mcp/message.ts';
import type { Era } from '../../mcp/revisions.ts';
import { ApiError } from '../../platform/errors.ts';
import { answerError } from '../answer-mcp.ts';
import { checkModernRequest } from '../check-modern-request.ts';
import type { GatewayDeps } from '../deps.ts';
import { parseBody } from '../parse-body.ts';
import type { Downstream } from '../relay-call.ts';
import { writeJson } from '../write-json.ts';
import { answerRequest, type NamespacePost } from './answer-request.ts';

/**
 * Answers a POST to the endpoint of a namespace: one MCP server with what all its connections offer, stateless, for
 * callers of both eras. Every outcome is a JSON-RPC answer (api.md §3.3); never rejects.
 */
export async function postNamespaceMessage(
  deps: GatewayDeps,
  post: NamespacePost,
  downstream: Downstream,
): Promise<void> {
  let message: IncomingMessage | undefined;
  let era: Era = 'legacy';
  try {
    message = readMessage(parseBody(post.body, deps.limits.jsonDepth));
    downstream.entry.carries(message.method, message.params);
    const stated = revisionOf(message, post.headers[versionHeader] as string | undefined);
    era = stated.era;
    if (era === 'modern') checkModernRequest(message, stated.revision, post.headers);
    else refuseSession(post.headers);
    if (message.id === undefined) {
      // Nothing is kept between two messages, so there is nothing to notify of.
      downstream.response.writeHead(202, { ...downstream.headers, 'content-length': 0 }).end();
      return;
    }
    const answer = await answerRequest(deps, post, { ...message, id: message.id }, era);
    if (!downstream.response.destroyed) writeJson(downstream, 200, answer);
  } catch (error) {
    fail(deps, downstream, message?.id, era, error);
  }
}

/** No session is ever opened here, so an id is some other server's (design §8, MCP endpoint). */
function refuseSession(headers: IncomingHttpHeaders): void {
  const id = headers[sessionHeader];
  if (id !== undefined && id !== statelessSession) throw new ApiError('session_not_found');
}

function fail(
  deps: GatewayDeps,
  downstream: Downstream,
  id: RequestId | undefined,
  era: Era,
  error: unknown,
): void {
  const isUnknownMethod = error instanceof ApiError && error.code === 'method_not_found';
  if (isUnknownMethod && era === 'legacy' && !downstream.response.destroyed) {
    downstream.entry.failed(error.code);
    // To a legacy client a status 404 is the end of a session (MCP 2025-11-25, basic/transports).
    writeJson(downstream, 200, errorMessage(error, id));
    return;
  }
  answerError(deps, downstream, id, error);
}
