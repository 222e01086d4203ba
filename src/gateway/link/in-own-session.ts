import { fieldsOf, toMessage } from '../../mcp/era-messages.ts';
import { sessionHeader } from '../../mcp/headers.ts';
import { isResponse, type RequestId } from '../../mcp/message.ts';
import { ApiError } from '../../platform/errors.ts';
import { SessionLost, type UpstreamMessage } from '../../upstream/legacy-session.ts';
import { ownerOf } from '../caller-sessions.ts';
import type { GatewayDeps } from '../deps.ts';
import { parseBody } from '../parse-body.ts';
import type { ReachedConnection } from '../reach.ts';
import { accepted, callTimer } from './answers.ts';
import { CallerLink, Cancelled, toSend } from './caller-link.ts';
import type { LinkPassage, LinkPost } from './link-post.ts';
import { MessageQueue } from './message-queue.ts';

/**
 * Opens a session for the caller alone, and tells the server what this caller can do. The id that the caller gets is
 * sealed like any other, but what it names lives in this process. Throws UpstreamFault and ApiError.
 */
export async function openForCaller(
  deps: GatewayDeps,
  { message, stream, principal, link: sessions }: LinkPassage,
  { connection, target }: ReachedConnection,
): Promise<boolean> {
  const { protocolVersion: revision, capabilities, clientInfo } = message.params ?? {};
  if (typeof revision !== 'string' || message.id === undefined) {
    throw new ApiError('validation_error', { message: 'params.protocolVersion: must be a string.' });
  }
  const client = { revision, capabilities: fieldsOf(capabilities), clientInfo: fieldsOf(clientInfo) };
  // A server may speak up as soon as it is greeted.
  const queue = new MessageQueue(deps.limits);
  let link: CallerLink | undefined;
  const hear = (message: UpstreamMessage) => (link ? link.hear(message) : queue.add(toSend(message)));
  const own = await sessions.own.open(target, client, hear, stream.left);
  link = new CallerLink(own, queue);
  const sealed = deps.callerSessions.seal(ownerOf(connection, principal), deps.callerLinks.add(link));
  const answer = toMessage(message.id, { kind: 'result', result: own.session.result });
  stream.end(200, answer, { [sessionHeader]: sealed });
  return true;
}

/** Sends a message in the caller's own session. Throws UpstreamFault, and ApiError `session_not_found`. */
export async function sendInSession(
  deps: GatewayDeps,
  passage: LinkPassage,
  reached: ReachedConnection,
): Promise<boolean> {
  const link = findLink(deps, passage, reached);
  link.session.retarget(reached.target);
  const { id } = passage.message;
  try {
    if (id === undefined) await tell(deps, passage, link);
    else await ask(deps, passage, reached, link, id);
  } catch (error) {
    // It lasts as long as its stream, and the message did not run: the caller is to open another.
    if (error instanceof SessionLost) throw new ApiError('session_not_found');
    throw error;
  }
  if (id === undefined) accepted(passage);
  return id !== undefined;
}

/** The session whose id the request carries. Throws ApiError `session_not_found`. */
export function findLink(
  { callerSessions, callerLinks }: GatewayDeps,
  { headers, principal }: Pick<LinkPost, 'headers' | 'principal'>,
  { connection }: ReachedConnection,
): CallerLink {
  const sealed = headers[sessionHeader] as string;
  const id = callerSessions.open(ownerOf(connection, principal), sealed);
  const link = id === undefined ? undefined : callerLinks.find(id);
  if (!link) throw new ApiError('session_not_found');
  return link;
}

async function ask(
  deps: GatewayDeps,
  { message, stream }: LinkPassage,
  { target }: ReachedConnection,
  link: CallerLink,
  id: RequestId,
): Promise<void> {
  const timer = callTimer(deps, stream, target);
  const { method, params } = message;
  try {
    stream.answer(200, id, await link.ask(id, { method: method as string, params }, stream, timer));
  } catch (error) {
    if (!(timer.signal.reason instanceof Cancelled)) throw error;
    // What was cancelled has no answer (MCP 2025-11-25, basic/utilities/cancellation).
    stream.open();
    stream.close();
  } finally {
    timer.end();
  }
}

/** A notification, or the answer to what the server asked. */
async function tell(
  { limits }: GatewayDeps,
  { message, body }: LinkPassage,
  link: CallerLink,
): Promise<void> {
  const { method, params } = message;
  if (method === 'notifications/cancelled') return link.cancel(params?.requestId);
  if (method !== undefined) return link.use((session) => session.notify(method, params));
  const response = parseBody(body, limits.jsonDepth);
  if (!isResponse(response)) throw new ApiError('invalid_message');
  const { id, result, error } = response as { id: RequestId; result?: unknown; error?: unknown };
  await link.use((session) => session.respond(id, error === undefined ? { result } : { error }));
}
