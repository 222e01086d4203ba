import type { RpcAnswer } from '../../mcp/answer.ts';
import {
  fieldsOf,
  missingCapability,
  toInitializeResult,
  toLegacyErrorCode,
  toLegacyResult,
} from '../../mcp/era-messages.ts';
import { sessionHeader } from '../../mcp/headers.ts';
import { latestLegacyRevision, negotiableRevisions } from '../../mcp/revisions.ts';
import { ApiError } from '../../platform/errors.ts';
import { plainClient } from '../../upstream/initialize.ts';
import type { LegacyClient } from '../../upstream/legacy-session.ts';
import { answerError } from '../answer-mcp.ts';
import { ownerOf } from '../caller-sessions.ts';
import type { GatewayDeps } from '../deps.ts';
import { parseBody } from '../parse-body.ts';
import type { ReachedConnection } from '../reach.ts';
import type { Downstream } from '../relay-call.ts';
import { AnswerStream } from './answer-stream.ts';
import { CallCancelled, callModern } from './call-modern.ts';
import { endWithError } from './end-with-error.ts';
import type { LegacyPassage, LegacyPost } from './legacy-post.ts';

/**
 * Answers a legacy caller in front of a modern upstream: the bridge from old to new (mcp.md §5.1). `isStateless` is the
 * caller that wants no session. Every outcome is a JSON-RPC answer; never rejects.
 */
export async function serveLegacy(
  deps: GatewayDeps,
  post: LegacyPost,
  reached: ReachedConnection,
  downstream: Downstream,
  isStateless: boolean,
): Promise<void> {
  const { message, session } = post;
  if (message.id === undefined) return hear(deps, post, downstream);
  const stream = new AnswerStream(deps, downstream, post.headers.accept);
  const passage: LegacyPassage = {
    ...post,
    id: message.id,
    method: message.method as string,
    client: session?.client ?? plainClient(latestLegacyRevision),
    wishes: session ? deps.wishes.get(session.idHash) : { logLevel: undefined, resources: [] },
    downstream,
    stream,
  };
  try {
    const { answer, headers } = await serve(deps, passage, reached, isStateless);
    stream.answer(200, message.id, answer, headers);
  } catch (error) {
    if (error instanceof CallCancelled) {
      stream.open();
      stream.close();
      return;
    }
    endWithError(deps, stream, downstream, message.id, error);
  }
}

interface Served {
  answer: RpcAnswer;
  headers?: Record<string, string>;
}

const done: Served = { answer: { kind: 'result', result: {} } };

async function serve(
  deps: GatewayDeps,
  passage: LegacyPassage,
  reached: ReachedConnection,
  isStateless: boolean,
): Promise<Served> {
  switch (passage.method) {
    case 'initialize':
      return initialize(deps, passage, reached, isStateless);
    case 'ping':
      return done;
    case 'logging/setLevel':
      return setLevel(deps, passage, reached);
    case 'resources/subscribe':
    case 'resources/unsubscribe':
      return subscribe(deps, passage, reached);
    default:
      return { answer: await call(deps, passage, reached) };
  }
}

/** What the caller says of itself is sealed into its session id, for nothing else remembers it (mcp.md §5.1). */
async function initialize(
  deps: GatewayDeps,
  passage: LegacyPassage,
  reached: ReachedConnection,
  isStateless: boolean,
): Promise<Served> {
  const { protocolVersion, capabilities, clientInfo } = passage.message.params ?? {};
  if (typeof protocolVersion !== 'string') {
    throw new ApiError('validation_error', { message: 'params.protocolVersion: must be a string.' });
  }
  const revision = negotiableRevisions.includes(protocolVersion) ? protocolVersion : latestLegacyRevision;
  const client: LegacyClient = {
    revision,
    capabilities: fieldsOf(capabilities),
    clientInfo: fieldsOf(clientInfo),
  };
  const discovered = await discover(deps, { ...passage, client }, reached);
  const fallback = { name: reached.connection.name, version: '0' };
  const result = toInitializeResult(discovered, revision, fallback);
  if (isStateless) return { answer: { kind: 'result', result } };
  const owner = ownerOf(reached.connection, passage.principal);
  const id = deps.callerSessions.sealClient(owner, fitting(client, deps.limits.clientInfoBytes));
  return { answer: { kind: 'result', result }, headers: { [sessionHeader]: id } };
}

/** A session id is a header, and has to stay one: icons may go, but not what the client can do. Throws ApiError. */
function fitting(client: LegacyClient, maxBytes: number): LegacyClient {
  const isSmall = (one: LegacyClient) => Buffer.byteLength(JSON.stringify(one)) <= maxBytes;
  if (isSmall(client)) return client;
  const { name, version } = client.clientInfo;
  const smaller = { ...client, clientInfo: { name, version } };
  if (isSmall(smaller)) return smaller;
  throw new ApiError('validation_error', {
    message: `params: capabilities are longer than ${maxBytes} bytes.`,
  });
}

const levels = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];

async function setLevel(
  deps: GatewayDeps,
  passage: LegacyPassage,
  reached: ReachedConnection,
): Promise<Served> {
  const level = passage.message.params?.level;
  if (typeof level !== 'string' || !levels.includes(level)) {
    throw new ApiError('validation_error', { message: `params.level: must be one of ${levels.join(', ')}.` });
  }
  const { idHash } = requireSession(passage);
  const { capabilities } = await discover(deps, passage, reached);
  if (fieldsOf(capabilities).logging === undefined) throw new ApiError('method_not_found');
  await deps.wishes.setLogLevel(idHash, level);
  return done;
}

async function subscribe(
  deps: GatewayDeps,
  passage: LegacyPassage,
  reached: ReachedConnection,
): Promise<Served> {
  const uri = passage.message.params?.uri;
  if (typeof uri !== 'string' || uri === '' || uri.length > deps.limits.resourceUriChars) {
    throw new ApiError('validation_error', { message: 'params.uri: must be the URI of a resource.' });
  }
  const { idHash } = requireSession(passage);
  if (passage.method === 'resources/unsubscribe') {
    await deps.wishes.unsubscribe(idHash, uri);
    return done;
  }
  const { capabilities } = await discover(deps, passage, reached);
  if (fieldsOf(fieldsOf(capabilities).resources).subscribe !== true) throw new ApiError('method_not_found');
  if (!(await deps.wishes.subscribe(idHash, uri))) {
    const text = `A session may subscribe to ${deps.limits.subscribedResources} resources.`;
    throw new ApiError('rate_limited', { message: text });
  }
  return done;
}

function requireSession({ session, method }: LegacyPassage): { idHash: string } {
  if (session) return session;
  throw new ApiError('bad_request', { message: `${method} takes a session: initialize first.` });
}

async function discover(
  deps: GatewayDeps,
  passage: LegacyPassage,
  reached: ReachedConnection,
): Promise<Record<string, unknown>> {
  const asking = { ...passage, method: 'server/discover', message: { ...passage.message, params: {} } };
  const answer = await callModern(deps, asking, reached);
  if (answer.kind === 'result') return answer.result;
  deps.observer.doubted(reached.connection);
  throw new ApiError('upstream_failed', { message: 'upstream refused server/discover' });
}

async function call(
  deps: GatewayDeps,
  passage: LegacyPassage,
  reached: ReachedConnection,
): Promise<RpcAnswer> {
  const { method } = passage;
  const answer = await callModern(deps, passage, reached);
  if (answer.kind === 'refused') {
    const { code, message, data } = fieldsOf(answer.error);
    const text = typeof message === 'string' ? message : 'The client refused to answer.';
    return { kind: 'error', code: typeof code === 'number' ? code : -1, message: text, data };
  }
  if (answer.kind === 'result') {
    const { resultType } = answer.result;
    if (resultType === undefined || resultType === 'complete') {
      return { kind: 'result', result: toLegacyResult(answer.result) };
    }
    const text = `The server answered "${String(resultType).slice(0, 40)}", which takes a client of 2026-07-28.`;
    throw new ApiError('tool_error', { message: text });
  }
  if (answer.code === missingCapability) {
    const { requiredCapabilities } = fieldsOf(answer.data);
    const names = Object.keys(fieldsOf(requiredCapabilities)).join(', ');
    const text = `The server needs a client capability that the client did not declare: ${names.slice(0, 200)}.`;
    return { kind: 'error', code: new ApiError('tool_error').rpc, message: text, data: undefined };
  }
  // Headers and revision are of our making, so the server has changed since it was probed.
  if (answer.code === -32020 || answer.code === -32022) {
    deps.observer.doubted(reached.connection);
    throw new ApiError('upstream_failed', { message: `upstream refused the request (${answer.code})` });
  }
  return { ...answer, code: toLegacyErrorCode(method, answer) };
}

/**
 * A notification of the caller, or its reply to a question. A modern server hears of neither by itself: they are for the call
 * that waits, here or in another process.
 */
async function hear(deps: GatewayDeps, post: LegacyPost, downstream: Downstream): Promise<void> {
  const { message, session, namespace } = post;
  try {
    if (session && (message.method === undefined || message.method === 'notifications/cancelled')) {
      const said = parseBody(post.body, deps.limits.jsonDepth);
      if (!deps.live.hear(session.idHash, said)) {
        await deps.mail.send({ namespace, idHash: session.idHash }, said);
      }
    }
    const { response, headers } = downstream;
    response.writeHead(202, { ...headers, 'content-length': 0 }).end();
  } catch (error) {
    answerError(deps, downstream, undefined, error);
  }
}
