import type { RpcAnswer } from '../../mcp/answer.ts';
import { fieldsOf, isFields, questions } from '../../mcp/era-messages.ts';
import { mirroredParams } from '../../mcp/headers.ts';
import type { Tool } from '../../mcp/lists.ts';
import { ApiError } from '../../platform/errors.ts';
import { randomText } from '../../platform/ids.ts';
import type { UpstreamMessage } from '../../upstream/legacy-session.ts';
import { requestModern } from '../../upstream/modern-request.ts';
import { refuseWaiting } from '../answer-mcp.ts';
import { askUpstream } from '../ask-upstream.ts';
import type { GatewayDeps } from '../deps.ts';
import { fetchList } from '../fetch-list.ts';
import type { ReachedConnection } from '../reach.ts';
import { CallTimer } from './call-timer.ts';
import { inEnvelope, type LegacyPassage, modernRevisionOf } from './legacy-post.ts';
import type { Reply } from './live-sessions.ts';

type Fields = Record<string, unknown>;

/** What a request that a legacy server would have asked in the middle of ended with. */
export type Outcome = RpcAnswer | { kind: 'refused'; error: unknown };

/** The caller cancelled its call, or went away: it expects no answer. */
export class CallCancelled extends Error {}

const headerMismatch = -32020;

/**
 * A legacy caller's request at a modern server. Where the server answers with questions, the caller is asked them on the
 * stream of its request, and the request is made again with the replies (MCP 2026-07-28, basic/patterns/mrtr).
 * Throws ApiError, and CallCancelled.
 */
export async function callModern(
  deps: GatewayDeps,
  passage: LegacyPassage,
  reached: ReachedConnection,
): Promise<Outcome> {
  const { stream, session, id } = passage;
  const timer = new CallTimer(deps.relay, reached.target.timeLimits);
  const gone = new AbortController();
  const cancel = () => {
    const reason = new CallCancelled();
    gone.abort(reason);
    timer.abort(reason);
  };
  stream.left.addEventListener('abort', cancel, { once: true });
  if (stream.left.aborted) cancel();
  const ended = session && deps.live.begin(session.idHash, id, cancel);
  try {
    let params = passage.message.params;
    for (let round = 0; round <= deps.limits.questionRounds; round++) {
      const answer = await ask(deps, passage, reached, params, timer, gone.signal);
      const asked = answer.kind === 'result' && answer.result.resultType === 'input_required';
      if (!asked) return answer;
      const { inputRequests, requestState } = answer.result as Fields;
      timer.askedAPerson();
      const replies = await askCaller(deps, passage, fieldsOf(inputRequests), timer.signal);
      if (replies.kind === 'refused') return replies;
      timer.heard();
      params = { ...passage.message.params, inputResponses: replies.responses };
      if (requestState !== undefined) params.requestState = requestState;
    }
    const text = `The server asked more than ${deps.limits.questionRounds} times in one call.`;
    throw new ApiError('tool_error', { message: text });
  } catch (error) {
    throw gone.signal.aborted ? gone.signal.reason : error;
  } finally {
    ended?.();
    stream.left.removeEventListener('abort', cancel);
    timer.end();
  }
}

/** One round: the request, once more with the tool's schema read anew if its mirrored headers were refused. */
async function ask(
  deps: GatewayDeps,
  passage: LegacyPassage,
  reached: ReachedConnection,
  params: Fields | undefined,
  timer: CallTimer,
  gone: AbortSignal,
): Promise<RpcAnswer> {
  const { method, stream } = passage;
  const { signal } = timer;
  const onMessage = async ({ method: said, params: about }: UpstreamMessage) => {
    timer.heard();
    await stream.send({ jsonrpc: '2.0', method: said, ...(about === undefined ? {} : { params: about }) });
  };
  const send = (paramHeaders: readonly string[]) =>
    askUpstream(
      deps,
      reached,
      gone,
      (current) =>
        requestModern(deps.transport, current.target, {
          revision: modernRevisionOf(current),
          method,
          params: inEnvelope(passage, current, params),
          paramHeaders,
          onMessage,
          signal,
        }),
      refuseWaiting(deps),
    );
  if (method !== 'tools/call') return send([]);
  const known = deps.listMemory.get('tools', reached.target);
  const answer = await send(mirror(known ?? (await fetchList(deps, reached, 'tools', gone)), params));
  if (answer.kind !== 'error' || answer.code !== headerMismatch || !known) return answer;
  return send(mirror(await fetchList(deps, reached, 'tools', gone), params));
}

function mirror(tools: readonly Tool[], params: Fields | undefined): string[] {
  const tool = tools.find(({ name }) => name === params?.name);
  return tool ? mirroredParams(tool.inputSchema, fieldsOf(params?.arguments)) : [];
}

/** Asks the caller all questions at once, and waits for all replies. */
async function askCaller(
  deps: GatewayDeps,
  { session, stream }: LegacyPassage,
  inputRequests: Fields,
  signal: AbortSignal,
): Promise<{ kind: 'replied'; responses: Fields } | { kind: 'refused'; error: unknown }> {
  const asked = Object.entries(inputRequests);
  if (asked.length > 0 && (!session || !stream.takesEvents)) {
    throw new ApiError('tool_error', {
      message:
        'The server asks something, which takes a session and a caller that accepts text/event-stream.',
    });
  }
  const replies = await Promise.all(
    asked.map(async ([key, request]): Promise<[string, Reply]> => {
      const { method, params } = fieldsOf(request);
      if (typeof method !== 'string' || !questions.has(method)) {
        throw new ApiError('tool_error', { message: 'The server asks something that no client can answer.' });
      }
      const { id, reply } = deps.live.ask((session as { idHash: string }).idHash, signal);
      // The call ends with the first question that fails; what becomes of the others is of no concern then.
      reply.catch(() => {});
      await stream.send({ jsonrpc: '2.0', id, method, ...withElicitationId(method, params) });
      return [key, await reply];
    }),
  ).catch((error: unknown) => {
    if (error instanceof ApiError || error instanceof CallCancelled || !signal.aborted) throw error;
    throw new ApiError('tool_error', { message: 'The client did not answer what the server asked in time.' });
  });
  const responses: Fields = {};
  for (const [key, reply] of replies) {
    if ('error' in reply) return { kind: 'refused', error: reply.error };
    responses[key] = reply.result;
  }
  return { kind: 'replied', responses };
}

/** A legacy client wants an id for a page that it opens, which a modern server has no use for (MCP 2025-11-25, client/elicitation). */
function withElicitationId(method: string, params: unknown): { params?: unknown } {
  if (!isFields(params)) return {};
  const isUrl =
    method === 'elicitation/create' && params.mode === 'url' && params.elicitationId === undefined;
  return { params: isUrl ? { ...params, elicitationId: randomText(16) } : params };
}
