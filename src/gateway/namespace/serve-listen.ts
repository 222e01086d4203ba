import { fieldsOf, tagged } from '../../mcp/era-messages.ts';
import type { RequestId } from '../../mcp/message.ts';
import { ApiError } from '../../platform/errors.ts';
import { AnswerStream } from '../bridge/answer-stream.ts';
import type { GatewayDeps } from '../deps.ts';
import type { Downstream } from '../relay-call.ts';
import { callerOf, type NamespacePost } from './namespace-post.ts';
import { changeFilters, watchLists } from './watch-lists.ts';

/**
 * `subscriptions/listen` on the namespace endpoint (MCP 2026-07-28, basic/patterns/subscriptions): tells of changed lists
 * until the caller leaves, or the namespace itself changes. Throws ApiError until the stream has begun.
 */
export async function serveNamespaceListen(
  deps: GatewayDeps,
  post: NamespacePost,
  id: RequestId,
  params: Record<string, unknown>,
  downstream: Downstream,
): Promise<void> {
  const stream = openListStream(deps, post, downstream);
  const asked = fieldsOf(params.notifications);
  const honoured = Object.keys(changeFilters).filter(
    (filter) => asked[filter] === true && isOffered(post, filter),
  );
  const methods = new Set<string>(
    honoured.map((filter) => changeFilters[filter as keyof typeof changeFilters]),
  );
  const acknowledged = { notifications: Object.fromEntries(honoured.map((filter) => [filter, true])) };
  const watch = await watchLists(deps, { ...callerOf(post), signal: stream.left }, async (method) => {
    if (methods.has(method)) await stream.send(tagged(method, undefined, id));
  });
  await stream.send(tagged('notifications/subscriptions/acknowledged', acknowledged, id));
  await watch.ended;
  const { params: tag } = tagged('', undefined, id);
  stream.answer(200, id, { kind: 'result', result: { resultType: 'complete', ...fieldsOf(tag) } });
}

/** The stream of one listener, counted among those of the namespace. Throws ApiError `bad_request` or `rate_limited`. */
export function openListStream(
  deps: GatewayDeps,
  { namespace, headers }: Pick<NamespacePost, 'namespace' | 'headers'>,
  downstream: Downstream,
): AnswerStream {
  const stream = new AnswerStream(deps, downstream, headers.accept);
  if (!stream.takesEvents) {
    throw new ApiError('bad_request', { message: 'Accept: must allow text/event-stream.' });
  }
  if (!deps.streams.add(`namespace ${namespace}`, downstream.response)) {
    throw new ApiError('rate_limited', {
      message: 'Too many streams of this namespace are open. Close one first.',
    });
  }
  return stream;
}

/** The three tools that stand for all others stay the same. */
export function isOffered({ search }: Pick<NamespacePost, 'search'>, filter: string): boolean {
  return !search || filter !== 'toolsListChanged';
}
