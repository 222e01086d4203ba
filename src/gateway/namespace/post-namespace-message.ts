import { errorMessage } from '../../mcp/answer.ts';
import { sessionHeader, statelessSession, versionHeader } from '../../mcp/headers.ts';
import { type IncomingMessage, type RequestId, readMessage, revisionOf } from '../../mcp/message.ts';
import type { Era } from '../../mcp/revisions.ts';
import { ApiError } from '../../platform/errors.ts';
import { answerError } from '../answer-mcp.ts';
import { CallCancelled } from '../bridge/call-modern.ts';
import { checkModernRequest } from '../check-modern-request.ts';
import type { GatewayDeps } from '../deps.ts';
import { parseBody } from '../parse-body.ts';
import type { Downstream } from '../relay-call.ts';
import { writeJson } from '../write-json.ts';
import { answerRequest } from './answer-request.ts';
import { newNamespaceSession, readNamespaceSession } from './caller-session.ts';
import type { NamespacePost } from './namespace-post.ts';
import { serveNamespaceListen } from './serve-listen.ts';

/**
 * Answers a POST to the endpoint of a namespace: one MCP server with what all its connections offer, for callers of both
 * eras, with or without a session. Every outcome is a JSON-RPC answer (api.md §3.3); never rejects.
 */
export async function postNamespaceMessage(
  deps: GatewayDeps,
  post: NamespacePost,
  downstream: Downstream,
): Promise<void> {
  let message: IncomingMessage | undefined;
  let era: Era = 'legacy';
  try {
    const parsed = parseBody(post.body, deps.limits.jsonDepth);
    message = readMessage(parsed);
    downstream.entry.carries(message.method, message.params);
    const stated = revisionOf(message, post.headers[versionHeader] as string | undefined);
    era = stated.era;
    if (era === 'modern') checkModernRequest(message, stated.revision, post.headers);
    const session = era === 'legacy' ? readNamespaceSession(deps, post) : undefined;
    const { id, method, params = {} } = message;
    if (id === undefined) {
      await hear(deps, post, session, method, parsed);
      downstream.response.writeHead(202, { ...downstream.headers, 'content-length': 0 }).end();
    } else if (era === 'modern' && method === 'subscriptions/listen') {
      await serveNamespaceListen(deps, post, id, params, downstream);
    } else {
      const answer = await answerCancellable(deps, post, session, { ...message, id }, era);
      if (!downstream.response.destroyed) writeJson(downstream, 200, answer, sessionFor(deps, post, method));
    }
  } catch (error) {
    fail(deps, downstream, message?.id, era, error);
  }
}

/** Only a cancellation means something here: it is for a call that runs in this process, or in another. */
async function hear(
  deps: GatewayDeps,
  { namespace }: NamespacePost,
  idHash: string | undefined,
  method: string | undefined,
  message: unknown,
): Promise<void> {
  if (idHash === undefined || method !== 'notifications/cancelled') return;
  if (!deps.live.hear(idHash, message)) await deps.mail.send({ namespace, idHash }, message);
}

async function answerCancellable(
  deps: GatewayDeps,
  post: NamespacePost,
  session: string | undefined,
  message: IncomingMessage & { id: RequestId },
  era: Era,
): Promise<Record<string, unknown>> {
  if (session === undefined) return answerRequest(deps, post, message, era);
  const cancelling = new AbortController();
  const ended = deps.live.begin(session, message.id, () => cancelling.abort(new CallCancelled()));
  try {
    const signal = AbortSignal.any([post.signal, cancelling.signal]);
    return await answerRequest(deps, { ...post, signal }, message, era);
  } catch (error) {
    throw cancelling.signal.aborted ? cancelling.signal.reason : error;
  } finally {
    ended();
  }
}

/** Legacy callers get a session, unless they say that they want none. Modern ones do not initialize. */
function sessionFor(
  deps: GatewayDeps,
  post: NamespacePost,
  method: string | undefined,
): Record<string, string> {
  if (method !== 'initialize' || post.headers[sessionHeader] === statelessSession) return {};
  return { [sessionHeader]: newNamespaceSession(deps, post) };
}

function fail(
  deps: GatewayDeps,
  downstream: Downstream,
  id: RequestId | undefined,
  era: Era,
  error: unknown,
): void {
  const { response, headers } = downstream;
  if (error instanceof CallCancelled) {
    // Who cancels expects no answer, and its POST ends (MCP 2025-11-25, basic/utilities/cancellation).
    if (!response.destroyed)
      response.writeHead(200, { ...headers, 'content-type': 'text/event-stream' }).end();
    return;
  }
  const isUnknownMethod = error instanceof ApiError && error.code === 'method_not_found';
  if (isUnknownMethod && era === 'legacy' && !response.destroyed) {
    downstream.entry.failed(error.code);
    // To a legacy client a status 404 is the end of a session (MCP 2025-11-25, basic/transports).
    writeJson(downstream, 200, errorMessage(error, id));
    return;
  }
  answerError(deps, downstream, id, error);
}
