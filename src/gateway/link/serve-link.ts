import { sessionHeader, statelessSession } from '../../mcp/headers.ts';
import { ApiError } from '../../platform/errors.ts';
import { CredentialsRefused, faultOfError } from '../../upstream/fault.ts';
import { refuseWaiting } from '../answer-mcp.ts';
import { AnswerStream } from '../bridge/answer-stream.ts';
import { endWithError } from '../bridge/end-with-error.ts';
import { rejectionOf } from '../caller-fault.ts';
import type { GatewayDeps } from '../deps.ts';
import { type ReachedConnection, recover } from '../reach.ts';
import type { Downstream } from '../relay-call.ts';
import { viaHeader } from '../via.ts';
import { withVia } from '../via-target.ts';
import { openForCaller, sendInSession } from './in-own-session.ts';
import { sendShared } from './in-shared-session.ts';
import type { LinkPassage, LinkPost } from './link-post.ts';

/** Sends it on, and answers the caller. Resolves to whether the upstream was heard. Throws UpstreamFault and ApiError. */
type Send = (deps: GatewayDeps, passage: LinkPassage, reached: ReachedConnection) => Promise<boolean>;

/**
 * Answers a legacy caller in front of an upstream that is reached over a link: in the caller's own session, which `initialize`
 * opens, else in the shared one. Every outcome is a JSON-RPC answer; never rejects.
 */
export async function serveLink(
  deps: GatewayDeps,
  post: LinkPost,
  reached: ReachedConnection,
  downstream: Downstream,
): Promise<void> {
  const send = wayOf(post);
  // The id of a new session is a header, so its answer must not begin before it is there.
  const accept = send === openForCaller ? 'application/json' : post.headers.accept;
  const stream = new AnswerStream(deps, downstream, accept);
  try {
    const via = viaHeader(post.headers.via);
    await serve(deps, { ...post, downstream, stream }, withVia(reached, via), send, 0);
  } catch (error) {
    endWithError(deps, stream, downstream, post.message.id, error);
  }
}

function wayOf({ headers, message }: LinkPost): Send {
  const session = headers[sessionHeader];
  if (session === statelessSession) return sendShared;
  if (session !== undefined) return sendInSession;
  return message.method === 'initialize' ? openForCaller : sendShared;
}

async function serve(
  deps: GatewayDeps,
  passage: LinkPassage,
  reached: ReachedConnection,
  send: Send,
  recoveries: number,
): Promise<void> {
  const { connection } = reached;
  const { stream, headers } = passage;
  try {
    if (await send(deps, passage, reached)) deps.observer.succeeded(connection);
  } catch (error) {
    if (error instanceof ApiError) throw error;
    const fault = faultOfError(error);
    if (stream.left.aborted) return;
    if (fault instanceof CredentialsRefused) {
      const again = await recover(deps, reached, fault, refuseWaiting(deps), recoveries);
      return serve(deps, passage, withVia(again, viaHeader(headers.via)), send, recoveries + 1);
    }
    const rejection = rejectionOf(fault.status);
    if (rejection) {
      // The stream may be what was refused, and that would be no fault of the caller.
      deps.observer.doubted(connection);
      throw rejection;
    }
    deps.observer.failed(connection, fault);
    throw fault.toApiError();
  }
}
