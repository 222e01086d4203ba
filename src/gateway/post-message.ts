import type { IncomingHttpHeaders } from 'node:http';
import { isBoundToRequests } from '../identity/permits.ts';
import { forwardedHeaders, sessionHeader, statelessSession, versionHeader } from '../mcp/headers.ts';
import { type IncomingMessage, isResponse, type RequestId, readMessage, revisionOf } from '../mcp/message.ts';
import { ApiError } from '../platform/errors.ts';
import { tellCancelled } from '../upstream/cancel.ts';
import { CredentialsRefused, faultOfError, faultOfStatus, isFaultStatus } from '../upstream/fault.ts';
import { maySayLostSession } from '../upstream/lost-session.ts';
import { type PooledSession, pooledRevision } from '../upstream/sessions.ts';
import { answerError, refuseWaiting } from './answer-mcp.ts';
import type { ClientSession } from './bridge/legacy-post.ts';
import { serveLegacy } from './bridge/serve-legacy.ts';
import { serveModern } from './bridge/serve-modern.ts';
import { rejectionOf } from './caller-fault.ts';
import { ownerOf, sessionHash } from './caller-sessions.ts';
import { checkBoundRequest } from './check-bound-request.ts';
import { checkModernRequest } from './check-modern-request.ts';
import type { GatewayDeps } from './deps.ts';
import { answerGuardedList, noteListing, requireAcceptedTool, signalOf } from './guarded-tools.ts';
import { serveLink } from './link/serve-link.ts';
import { parseBody } from './parse-body.ts';
import { type Caller, type ReachedConnection, reach, recover } from './reach.ts';
import { relay } from './relay.ts';
import type { Downstream, Refusal, RelayCall } from './relay-call.ts';
import { replaceId } from './replace-id.ts';
import type { RpcRequest } from './rpc-request.ts';
import { viaHeader } from './via.ts';
import { writeJson } from './write-json.ts';

/** One POST to the MCP endpoint of a connection, by a caller who may execute there. */
export interface McpPost extends Caller {
  connectionId: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** One message on its way. */
interface Passage {
  post: McpPost;
  message: IncomingMessage;
  downstream: Downstream;
  /** How often it was sent again with other credentials. */
  recoveries: number;
  /** Quarantine lets it pass. */
  isGuarded?: boolean;
}

/**
 * Answers a POST to a connection's MCP endpoint: relays it to an upstream of the caller's era.
 * Every outcome is a JSON-RPC answer (api.md §3.3); never throws.
 */
export function postMessage(deps: GatewayDeps, post: McpPost, downstream: Downstream): void {
  let id: RequestId | undefined;
  try {
    const { message, request } = readPost(post, deps.limits.jsonDepth);
    id = message.id;
    downstream.entry.carries(message.method, message.params);
    const passage = { post, message, downstream, recoveries: 0 };
    const reached = reach(deps, post, post.connectionId, request, refuseWaiting(deps));
    if (reached instanceof Promise) {
      reached
        .then((connection) => forward(deps, passage, connection))
        .catch((error: unknown) => answerError(deps, downstream, id, error));
    } else {
      const forwarded = forward(deps, passage, reached);
      forwarded?.catch((error: unknown) => answerError(deps, downstream, id, error));
    }
  } catch (error) {
    answerError(deps, downstream, id, error);
  }
}

/** `request` is undefined for a response: whom it answers has been decided on before. */
function readPost(
  { body, headers, principal }: McpPost,
  maxDepth: number,
): { message: IncomingMessage; request: RpcRequest | undefined } {
  const value = parseBody(body, maxDepth);
  if (isBoundToRequests(principal)) checkBoundRequest(body, value);
  // Servers ask back in sessions, so callers answer there (MCP 2025-11-25, basic/transports).
  if (ownSession(headers) !== undefined && isResponse(value)) {
    return { message: { method: undefined, id: undefined, params: undefined }, request: undefined };
  }
  return { message: readMessage(value), request: value as RpcRequest };
}

/** The session id of a caller that keeps a session of its own. */
function ownSession(headers: IncomingHttpHeaders): string | undefined {
  const id = headers[sessionHeader] as string | undefined;
  return id === statelessSession ? undefined : id;
}

function forward(deps: GatewayDeps, passage: Passage, reached: ReachedConnection): Promise<void> | undefined {
  const { post, message, downstream } = passage;
  const { headers, body } = post;
  const { revision, era, stated } = revisionOf(message, headers[versionHeader] as string | undefined);
  const { protocol, uid } = reached.connection;
  downstream.entry.connectionUid = uid;
  const via = viaHeader(headers.via);
  if (downstream.response.destroyed) return undefined;
  const guarded = passage.isGuarded ? undefined : guardTools(deps, passage, reached, era === 'modern');
  if (guarded) return guarded;
  if (era === 'modern') {
    if (!protocol.modern) {
      return serveModern(
        deps,
        { message, revision, headers, principal: post.principal },
        reached,
        downstream,
      );
    }
    // A server may go by the headers, and need not hold them against the body.
    if (isBoundToRequests(post.principal)) checkModernRequest(message, revision, headers);
    deps.circuits.enter(reached.target, downstream);
    // A session id from a modern caller is a leftover, and ignored (MCP 2026-07-28, streamable-http).
    const call = {
      target: reached.target,
      body,
      headers: [...forwardedHeaders(headers), ...via],
      id: message.id,
      mayBeLost: false,
      replacedId: undefined,
    };
    send(deps, passage, reached, call, undefined, () => {});
    return undefined;
  }
  const link = deps.sessions.link(protocol);
  if (link) {
    deps.circuits.enter(reached.target, downstream);
    const { principal } = post;
    return serveLink(deps, { message, headers, body, principal, link }, reached, downstream);
  }
  const session = ownSession(headers);
  if (session !== undefined) return sendInOwnSession(deps, passage, reached, via, session);
  if (!protocol.legacy) return bridgeLegacy(deps, passage, reached, undefined);

  deps.circuits.enter(reached.target, downstream);
  if (message.method === 'initialize') {
    if (headers[sessionHeader] === statelessSession) return answerInitialize(deps, passage, reached);
    openOwnSession(deps, passage, reached, via);
    return undefined;
  }
  if (message.method === 'notifications/initialized') {
    // The pooled session has been initialized already.
    downstream.response.writeHead(202, { ...downstream.headers, 'content-length': 0 }).end();
    return undefined;
  }
  const spoken = stated ? pooledRevision(revision) : protocol.legacy;
  const known = deps.sessions.find(reached.target, spoken);
  if (known) {
    sendInSession(deps, passage, reached, via, spoken, known, true);
    return undefined;
  }
  return deps.sessions.acquire(reached.target, spoken).then(
    (opened) => sendInSession(deps, passage, reached, via, spoken, opened, true),
    (error: unknown) => fail(deps, passage, reached, error),
  );
}

/**
 * In a namespace with quarantine we list the tools ourselves, and a call waits until it is known that its tool was accepted.
 * Undefined where there is nothing to guard.
 */
function guardTools(
  deps: GatewayDeps,
  passage: Passage,
  reached: ReachedConnection,
  isModern: boolean,
): Promise<void> | undefined {
  const { post, message, downstream } = passage;
  const { id, method, params } = message;
  const isCall = method === 'tools/call';
  if (!isCall && method !== 'tools/list') return undefined;
  const guards = deps.toolGuard.guards(post.namespace);
  if (guards === false) {
    if (!isCall) noteListing(deps, reached);
    return undefined;
  }
  return Promise.resolve(guards).then(async (isGuarding) => {
    if (isGuarding && !isCall) return answerGuardedList(deps, reached, { id, isModern }, downstream);
    if (isGuarding) await requireAcceptedTool(deps, reached, params?.name, signalOf(downstream));
    return forward(deps, { ...passage, isGuarded: true }, reached);
  });
}

/** The upstream opens a session for this caller alone, and learns what this caller can do. */
function openOwnSession(
  deps: GatewayDeps,
  passage: Passage,
  reached: ReachedConnection,
  via: readonly string[],
): void {
  const { post, message } = passage;
  const owner = ownerOf(reached.connection, post.principal);
  const call = {
    target: reached.target,
    body: post.body,
    headers: via,
    id: message.id,
    mayBeLost: false,
    replacedId: undefined,
    sealSession: (upstreamId: string) => deps.callerSessions.seal(owner, upstreamId),
  };
  send(deps, passage, reached, call, undefined, () => {});
}

/** In a session of the caller's own nothing is replaced: its ids are the only ones there. */
function sendInOwnSession(
  deps: GatewayDeps,
  passage: Passage,
  reached: ReachedConnection,
  via: readonly string[],
  session: string,
): Promise<void> | undefined {
  const { post, message, downstream } = passage;
  const owner = ownerOf(reached.connection, post.principal);
  const upstreamId = deps.callerSessions.open(owner, session);
  if (upstreamId === undefined) {
    const client = deps.callerSessions.openClient(owner, session);
    if (!client || !reached.connection.protocol.modern) throw new ApiError('session_not_found');
    return bridgeLegacy(deps, passage, reached, { idHash: sessionHash(session), client });
  }
  deps.circuits.enter(reached.target, downstream);
  const call = {
    target: reached.target,
    body: post.body,
    headers: [...forwardedHeaders(post.headers), sessionHeader, upstreamId, ...via],
    id: message.id,
    isResumable: true,
    mayBeLost: false,
    replacedId: undefined,
  };
  send(deps, passage, reached, call, undefined, () => {});
  return undefined;
}

/** A legacy caller in front of an upstream that is modern only. */
function bridgeLegacy(
  deps: GatewayDeps,
  { post, message, downstream }: Passage,
  reached: ReachedConnection,
  session: ClientSession | undefined,
): Promise<void> {
  const { headers, body, principal, namespace } = post;
  const isStateless = headers[sessionHeader] === statelessSession;
  return serveLegacy(
    deps,
    { message, body, headers, principal, namespace, session },
    reached,
    downstream,
    isStateless,
  );
}

/** A pooled session has been initialized with the upstream; its result is the caller's answer. */
async function answerInitialize(
  deps: GatewayDeps,
  passage: Passage,
  reached: ReachedConnection,
): Promise<void> {
  const { message, downstream } = passage;
  const asked = message.params?.protocolVersion;
  if (typeof asked !== 'string' || message.id === undefined) {
    throw new ApiError('validation_error', { message: 'params.protocolVersion: must be a string.' });
  }
  try {
    const known = deps.sessions.find(reached.target, pooledRevision(asked));
    const session = known ?? (await deps.sessions.acquire(reached.target, pooledRevision(asked)));
    // A session opened earlier says nothing about the upstream now.
    if (!known) deps.observer.succeeded(reached.connection);
    writeJson(downstream, 200, { jsonrpc: '2.0', id: message.id, result: session.result });
  } catch (error) {
    fail(deps, passage, reached, error);
  }
}

function sendInSession(
  deps: GatewayDeps,
  passage: Passage,
  reached: ReachedConnection,
  via: readonly string[],
  revision: string,
  session: PooledSession,
  mayReopen: boolean,
): void {
  const { post, message, downstream } = passage;
  // Opening the session may have outlasted the caller; then the call must not run.
  if (downstream.response.destroyed) return;
  const { target } = reached;
  const inSession = session.id !== undefined && mayReopen;
  const call = {
    target,
    headers: [...session.headers, ...via],
    id: message.id,
    mayBeLost: inSession,
    ...withOurId(deps, message, post.body),
  };
  const reopen = async (): Promise<boolean> => {
    if (!inSession || !(await deps.sessions.isLost(session))) return false;
    deps.sessions.drop(session);
    const fresh = await deps.sessions.acquire(target, revision);
    if (!downstream.response.destroyed) sendInSession(deps, passage, reached, via, revision, fresh, false);
    return true;
  };
  send(deps, passage, reached, call, reopen, deps.sessions.begin(session));
}

/** The session is shared, so the request travels under an id that no other call has (see SessionPool). */
function withOurId(
  deps: GatewayDeps,
  message: IncomingMessage,
  body: Buffer,
): Pick<RelayCall, 'body' | 'replacedId'> {
  return message.id === undefined
    ? { body, replacedId: undefined }
    : replaceId(body, deps.sessions.uniqueId());
}

function send(
  deps: GatewayDeps,
  passage: Passage,
  reached: ReachedConnection,
  call: RelayCall,
  reopen: (() => Promise<boolean>) | undefined,
  ended: () => void,
): void {
  const { connection } = reached;
  const cancel = () => {
    if (call.replacedId) tellCancelled(deps.transport, call.target, call.headers, call.replacedId.ours);
  };
  relay(deps.relay, call, passage.downstream, {
    answered() {
      ended();
      deps.observer.succeeded(connection);
    },
    abandoned() {
      ended();
      cancel();
    },
    failed(fault, sent) {
      ended();
      deps.observer.failed(connection, fault);
      if (fault.kind === 'timeout') cancel();
      if (!sent) answerError(deps, passage.downstream, call.id, fault.toApiError());
    },
    refused(refusal) {
      ended();
      if (!reopen || !maySayLostSession(refusal.status, refusal.rpcCode)) {
        pass(deps, passage, reached, refusal);
        return;
      }
      reopen()
        .then((reopened) => reopened || pass(deps, passage, reached, refusal))
        .catch((error: unknown) => fail(deps, passage, reached, error));
    },
  });
}

function pass(deps: GatewayDeps, passage: Passage, reached: ReachedConnection, refusal: Refusal): void {
  const { status } = refusal;
  const { connection, target } = reached;
  const { downstream, message } = passage;
  if (downstream.response.destroyed) return;
  if (!isFaultStatus(status) && refusal.pass) {
    // A server that refuses the revision has changed since the probe (MCP 2026-07-28, -32022).
    if (refusal.rpcCode === -32022) deps.observer.doubted(connection);
    else deps.observer.succeeded(connection);
    refusal.pass();
    return;
  }
  // The upstream has lost the session: its caller opens another (MCP 2025-11-25, basic/transports).
  if (status === 404 && ownSession(passage.post.headers) !== undefined) {
    answerError(deps, downstream, message.id, new ApiError('session_not_found'));
    return;
  }
  const rejection = rejectionOf(status);
  if (rejection) return answerError(deps, downstream, message.id, rejection);
  fail(deps, passage, reached, faultOfStatus(status, target, refusal));
}

function fail(deps: GatewayDeps, passage: Passage, reached: ReachedConnection, error: unknown): void {
  const { downstream, message } = passage;
  if (error instanceof ApiError) return answerError(deps, downstream, message.id, error);
  const fault = faultOfError(error);
  if (fault instanceof CredentialsRefused) {
    // A server that refuses the credentials did not run the call, so with new ones it may be made again.
    recover(deps, reached, fault, refuseWaiting(deps), passage.recoveries)
      .then((again) => forward(deps, { ...passage, recoveries: passage.recoveries + 1 }, again))
      .catch((refusal: unknown) => answerError(deps, downstream, message.id, refusal));
    return;
  }
  deps.observer.failed(reached.connection, fault);
  answerError(deps, downstream, message.id, fault.toApiError());
}
