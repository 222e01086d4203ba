import type { RpcAnswer } from '../../mcp/answer.ts';
import {
  askingMethods,
  fieldsOf,
  isFields,
  legacyOnlyMethods,
  missingCapability,
  readEnvelope,
  toDiscoverResult,
  toLegacyParams,
  toModernErrorCode,
  toModernResult,
  urlElicitationRequired,
} from '../../mcp/era-messages.ts';
import { mirroredParams } from '../../mcp/headers.ts';
import { latestModernRevision } from '../../mcp/revisions.ts';
import { ApiError } from '../../platform/errors.ts';
import { CredentialsRefused, faultOfError } from '../../upstream/fault.ts';
import { SessionLost } from '../../upstream/legacy-session.ts';
import type { Lease } from '../../upstream/session-leases.ts';
import { refuseWaiting } from '../answer-mcp.ts';
import { checkMirroredParams, checkModernRequest } from '../check-modern-request.ts';
import type { GatewayDeps } from '../deps.ts';
import { fetchList } from '../fetch-list.ts';
import { type ReachedConnection, recover } from '../reach.ts';
import type { Downstream } from '../relay-call.ts';
import { AnswerStream } from './answer-stream.ts';
import { BridgedCall } from './bridged-call.ts';
import { endWithError } from './end-with-error.ts';
import { clientOf, type ModernPassage, type ModernPost } from './modern-post.ts';
import { serveListen } from './serve-listen.ts';
import type { StateOwner } from './suspended-calls.ts';

/**
 * Answers a modern caller in front of a legacy upstream: the bridge from new to old (mcp.md §5.1). Every outcome is a
 * JSON-RPC answer; never rejects.
 */
export async function serveModern(
  deps: GatewayDeps,
  post: ModernPost,
  reached: ReachedConnection,
  downstream: Downstream,
): Promise<void> {
  const stream = new AnswerStream(deps, downstream, post.headers.accept);
  const { message } = post;
  try {
    checkModernRequest(message, post.revision, post.headers);
    if (message.id === undefined) {
      // A modern client cancels by closing, and has nothing else to notify a legacy server of.
      downstream.response.writeHead(202, { ...downstream.headers, 'content-length': 0 }).end();
      return;
    }
    const passage = { ...post, id: message.id, method: message.method as string, downstream, stream };
    await serve(deps, passage, reached, 0);
  } catch (error) {
    if (!stream.left.aborted) endWithError(deps, stream, downstream, message.id, error);
  }
}

/** Sends the request again with renewed credentials where they were refused, and in a new session where it was lost. */
async function serve(
  deps: GatewayDeps,
  passage: ModernPassage,
  reached: ReachedConnection,
  recoveries: number,
  isSecond = false,
): Promise<void> {
  try {
    await answer(deps, passage, reached);
  } catch (error) {
    if (error instanceof ApiError || passage.stream.left.aborted) throw error;
    const fault = faultOfError(error);
    // It did not run, so it may run now.
    if (fault instanceof SessionLost && !isSecond) return serve(deps, passage, reached, recoveries, true);
    if (fault instanceof CredentialsRefused) {
      const again = await recover(deps, reached, fault, refuseWaiting(deps), recoveries);
      return serve(deps, passage, again, recoveries + 1, isSecond);
    }
    deps.observer.failed(reached.connection, fault);
    throw fault.toApiError();
  }
}

async function answer(deps: GatewayDeps, passage: ModernPassage, reached: ReachedConnection): Promise<void> {
  const { method, message, id, stream } = passage;
  if (legacyOnlyMethods.has(method)) throw new ApiError('method_not_found');
  if (method === 'subscriptions/listen') return serveListen(deps, passage, reached);
  if (method === 'server/discover') {
    const lease = await borrow(deps, passage, reached);
    stream.answer(200, id, { kind: 'result', result: discovered(lease) });
    lease.release();
    return;
  }
  if (method === 'tools/call') await checkParamHeaders(deps, passage, reached);
  const state = message.params?.requestState;
  if (state === undefined) return proceed(deps, passage, reached, await begin(deps, passage, reached));
  const opened =
    typeof state === 'string' ? deps.suspended.open(stateOwner(passage, reached), state) : undefined;
  const responses = fieldsOf(message.params?.inputResponses);
  if (!opened) {
    throw new ApiError('validation_error', { message: 'params.requestState: is none of this request.' });
  }
  if (opened.kind === 'gone') throw new ApiError('call_gone');
  if (opened.kind === 'suspended') {
    await opened.call.reply(responses);
    return proceed(deps, passage, reached, opened.call);
  }
  const declined = Object.values(responses).some((response) => fieldsOf(response).action !== 'accept');
  if (declined)
    throw new ApiError('tool_error', { message: 'The user did not agree to what the server asked.' });
  return proceed(deps, passage, reached, await begin(deps, passage, reached));
}

function discovered({ session }: Lease): Record<string, unknown> {
  return toDiscoverResult(session.result, [latestModernRevision]);
}

async function begin(
  deps: GatewayDeps,
  passage: ModernPassage,
  reached: ReachedConnection,
): Promise<BridgedCall> {
  const lease = await borrow(deps, passage, reached);
  const { method, message } = passage;
  return new BridgedCall(deps.relay, deps.feed, lease, {
    uid: reached.connection.uid,
    timeLimits: reached.target.timeLimits,
    method,
    params: toLegacyParams(message.params),
    envelope: readEnvelope(message.params),
  });
}

function borrow(
  deps: GatewayDeps,
  passage: ModernPassage,
  { target, connection }: ReachedConnection,
): Promise<Lease> {
  // Log messages belong to a session as a whole.
  deps.circuits.enter(target, passage.stream.left);
  const wantsLogs = readEnvelope(passage.message.params).logLevel !== undefined;
  return deps.leases.lease(target, connection.protocol, clientOf(passage), wantsLogs);
}

async function proceed(
  deps: GatewayDeps,
  passage: ModernPassage,
  reached: ReachedConnection,
  call: BridgedCall,
): Promise<void> {
  const { stream, id } = passage;
  const progress = await call.proceed(stream);
  if (progress.kind === 'asks') {
    const requestState = deps.suspended.suspend(stateOwner(passage, reached), call);
    if (requestState === undefined) {
      call.cancel();
      throw new ApiError('rate_limited', {
        message: 'Too many calls wait for their users. Try again later.',
      });
    }
    const inputRequests = Object.fromEntries(
      Array.from(progress.questions, ([key, { method, params }]) => [
        key,
        params ? { method, params } : { method },
      ]),
    );
    stream.answer(200, id, { kind: 'result', result: inputRequired(inputRequests, requestState) });
    return;
  }
  deps.observer.succeeded(reached.connection);
  const { status, answer } = toModernAnswer(deps, passage, reached, progress.answer);
  stream.answer(status, id, answer);
}

function inputRequired(
  inputRequests: Record<string, unknown>,
  requestState: string,
): Record<string, unknown> {
  return { resultType: 'input_required', inputRequests, requestState };
}

/** The answer of a legacy server as a modern client takes it, and the HTTP status that goes with it (streamable-http). */
function toModernAnswer(
  deps: GatewayDeps,
  passage: ModernPassage,
  reached: ReachedConnection,
  answer: RpcAnswer,
): { status: number; answer: RpcAnswer } {
  const { method } = passage;
  if (answer.kind === 'result') {
    const { serverInfo } = reached.connection;
    return {
      status: 200,
      answer: { kind: 'result', result: toModernResult(method, answer.result, serverInfo) },
    };
  }
  if (answer.code === urlElicitationRequired && askingMethods.has(method)) {
    return toUrlElicitation(deps, passage, reached, answer);
  }
  const code = toModernErrorCode(answer.code);
  return { status: code === -32601 ? 404 : 200, answer: { ...answer, code } };
}

/** What a legacy server says by an error, a modern one asks (MCP 2025-11-25, client/elicitation; 2026-07-28, mrtr). */
function toUrlElicitation(
  deps: GatewayDeps,
  passage: ModernPassage,
  reached: ReachedConnection,
  error: RpcAnswer & { kind: 'error' },
): { status: number; answer: RpcAnswer } {
  const { capabilities } = readEnvelope(passage.message.params);
  if (!isFields(fieldsOf(capabilities.elicitation).url)) {
    const data = { requiredCapabilities: { elicitation: { url: {} } } };
    const message =
      'The server needs the user to open a page, which takes the client capability elicitation.url.';
    return { status: 400, answer: { kind: 'error', code: missingCapability, message, data } };
  }
  const { elicitations } = fieldsOf(error.data);
  const asked = (Array.isArray(elicitations) ? elicitations : []).filter(isFields);
  const requests = asked.map(({ message, url }, index) => [
    `question-${index + 1}`,
    { method: 'elicitation/create', params: { mode: 'url', message, url } },
  ]);
  const requestState = deps.suspended.again(stateOwner(passage, reached));
  return {
    status: 200,
    answer: { kind: 'result', result: inputRequired(Object.fromEntries(requests), requestState) },
  };
}

function stateOwner(
  { principal, method, message }: ModernPassage,
  { connection }: ReachedConnection,
): StateOwner {
  return { uid: connection.uid, caller: principal.identity, method, params: toLegacyParams(message.params) };
}

/** Whoever reads the body holds the mirrored headers against it, as the tool wants them (MCP 2026-07-28, streamable-http). */
async function checkParamHeaders(
  deps: GatewayDeps,
  { message, headers, stream }: ModernPassage,
  reached: ReachedConnection,
): Promise<void> {
  const tools =
    deps.listMemory.get('tools', reached.target) ?? (await fetchList(deps, reached, 'tools', stream.left));
  const tool = tools.find(({ name }) => name === message.params?.name);
  if (tool)
    checkMirroredParams(headers, mirroredParams(tool.inputSchema, fieldsOf(message.params?.arguments)));
}
