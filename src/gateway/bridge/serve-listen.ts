import { fieldsOf, tagged } from '../../mcp/era-messages.ts';
import { ApiError } from '../../platform/errors.ts';
import type { UpstreamMessage } from '../../upstream/legacy-session.ts';
import type { GatewayDeps } from '../deps.ts';
import type { ReachedConnection } from '../reach.ts';
import { clientOf, type ModernPassage } from './modern-post.ts';

/** What a listener may ask to hear, and by which capability a legacy server says that it tells. */
const lists = [
  ['toolsListChanged', 'notifications/tools/list_changed', 'tools'],
  ['promptsListChanged', 'notifications/prompts/list_changed', 'prompts'],
  ['resourcesListChanged', 'notifications/resources/list_changed', 'resources'],
] as const;

/**
 * `subscriptions/listen` in front of a legacy server (MCP 2026-07-28, basic/patterns/subscriptions): what the server says
 * on the stream of a session, and on any other session of the connection. Ends with the caller, or with the session.
 * Throws UpstreamFault and ApiError until the stream has begun.
 */
export async function serveListen(
  deps: GatewayDeps,
  passage: ModernPassage,
  { connection, target }: ReachedConnection,
): Promise<void> {
  const { stream, id, message, downstream } = passage;
  const asked = fieldsOf(message.params?.notifications);
  if (!stream.takesEvents)
    throw new ApiError('bad_request', { message: 'Accept: must allow text/event-stream.' });
  if (!deps.streams.add(target.origin, downstream.response)) {
    throw new ApiError('rate_limited', {
      message: 'Too many streams of this server are open. Close one first.',
    });
  }
  deps.circuits.enter(target, stream.left);
  // Subscriptions belong to a session, so this one is not shared.
  const lease = await deps.leases.lease(target, connection.protocol, clientOf(passage), true);
  const { session } = lease;
  const capabilities = fieldsOf(session.result.capabilities);
  const methods = new Set<string>();
  const honoured: Record<string, unknown> = {};
  for (const [filter, method, capability] of lists) {
    if (asked[filter] !== true || fieldsOf(capabilities[capability]).listChanged !== true) continue;
    honoured[filter] = true;
    methods.add(method);
  }
  const uris = new Set<string>();
  const signal = AbortSignal.any([stream.left, AbortSignal.timeout(deps.limits.discoverMs)]);
  if (fieldsOf(capabilities.resources).subscribe === true && Array.isArray(asked.resourceSubscriptions)) {
    for (const uri of asked.resourceSubscriptions.slice(0, deps.limits.subscribedResources)) {
      if (typeof uri !== 'string') continue;
      const request = { method: 'resources/subscribe', params: { uri }, onMessage: () => {}, signal };
      const answer = await session.request(request);
      if (answer.kind === 'result') uris.add(uri);
    }
    if (uris.size > 0) honoured.resourceSubscriptions = [...uris];
  }
  const pass = ({ method, params }: UpstreamMessage) => {
    const isUpdate = method === 'notifications/resources/updated' && uris.has(String(params?.uri));
    if (isUpdate || methods.has(method)) void stream.send(tagged(method, params, id));
  };
  await stream.send(tagged('notifications/subscriptions/acknowledged', { notifications: honoured }, id));
  deps.observer.succeeded(connection);
  const unlisten = deps.feed.listen(connection.uid, pass);
  await new Promise<void>((resolve) => {
    stream.left.addEventListener('abort', () => resolve(), { once: true });
    session.ended.addEventListener('abort', () => resolve(), { once: true });
    if (stream.left.aborted || session.ended.aborted) resolve();
  });
  unlisten();
  lease.drop();
  const result = tagged('', undefined, id).params as Record<string, unknown>;
  stream.answer(200, id, { kind: 'result', result: { resultType: 'complete', ...result } });
}
