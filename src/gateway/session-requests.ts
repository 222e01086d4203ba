import type { IncomingHttpHeaders } from 'node:http';
import { forwardedHeaders, sessionHeader, singleValue, statelessSession } from '../mcp/headers.ts';
import { ApiError } from '../platform/errors.ts';
import { redirectPath } from '../upstream/exchange.ts';
import { CredentialsRefused, isFaultStatus, type UpstreamFault } from '../upstream/fault.ts';
import type { LegacyClient } from '../upstream/legacy-session.ts';
import type { Target } from '../upstream/target.ts';
import { answerError, refuseWaiting } from './answer-mcp.ts';
import { serveSessionStream } from './bridge/serve-session-stream.ts';
import { ownerOf, sessionHash } from './caller-sessions.ts';
import type { GatewayDeps } from './deps.ts';
import { endOverLink, streamOverLink } from './link/session-stream.ts';
import { openStream } from './open-stream.ts';
import { type Caller, type ReachedConnection, reach, recover } from './reach.ts';
import type { Downstream } from './relay-call.ts';
import { viaHeader } from './via.ts';

/** A GET or DELETE on the MCP endpoint of a connection, by a caller who may execute there. */
export interface SessionRequest extends Caller {
  connectionId: string;
  headers: IncomingHttpHeaders;
}

/** A request with its session found: one of the upstream's, or of the bridge's for an upstream that keeps none. */
type InSession = UpstreamSession | BridgedSession;

interface UpstreamSession {
  reached: ReachedConnection;
  /** The caller's id, and the upstream's. */
  id: string;
  upstreamId: string;
}

interface BridgedSession {
  reached: ReachedConnection;
  id: string;
  client: LegacyClient;
}

/** Answers a GET with the upstream's stream of the caller's session. 405 without one, 404 with an unknown. Never throws. */
export function getStream(deps: GatewayDeps, request: SessionRequest, downstream: Downstream): void {
  findSession(deps, request)
    .then((session) => {
      const { reached, id } = session;
      if (deps.sessions.link(reached.connection.protocol))
        return streamOverLink(deps, request, reached, downstream);
      if (!('client' in session)) return stream(deps, request, session, downstream);
      return serveSessionStream(deps, { ...session, idHash: sessionHash(id) }, reached, downstream);
    })
    .catch((error: unknown) => answerError(deps, downstream, undefined, error));
}

/** Answers a DELETE: ends the caller's session at the upstream, and here in any case. Never throws. */
export function deleteSession(deps: GatewayDeps, request: SessionRequest, downstream: Downstream): void {
  findSession(deps, request)
    .then((session) => {
      const { reached } = session;
      if (deps.sessions.link(reached.connection.protocol))
        return endOverLink(deps, request, reached, downstream);
      return 'client' in session
        ? endBridged(deps, session, downstream)
        : end(deps, request, session, downstream);
    })
    .catch((error: unknown) => answerError(deps, downstream, undefined, error));
}

async function findSession(deps: GatewayDeps, request: SessionRequest): Promise<InSession> {
  const id = request.headers[sessionHeader] as string | undefined;
  if (id === undefined || id === statelessSession) {
    throw new ApiError('method_not_allowed', { headers: { allow: 'POST' } });
  }
  const reached = await reach(deps, request, request.connectionId, undefined, refuseWaiting(deps));
  const owner = ownerOf(reached.connection, request.principal);
  const upstreamId = deps.callerSessions.open(owner, id);
  if (upstreamId !== undefined) return { reached, id, upstreamId };
  const client = deps.callerSessions.openClient(owner, id);
  if (client && reached.connection.protocol.modern) return { reached, id, client };
  throw new ApiError('session_not_found');
}

async function endBridged(
  deps: GatewayDeps,
  { id }: BridgedSession,
  { response, headers }: Downstream,
): Promise<void> {
  const idHash = sessionHash(id);
  await deps.callerSessions.end(id);
  await deps.wishes.forget(idHash);
  deps.live.end(idHash);
  response.writeHead(204, headers).end();
}

async function stream(
  deps: GatewayDeps,
  request: SessionRequest,
  session: UpstreamSession,
  downstream: Downstream,
  recoveries = 0,
): Promise<void> {
  const { reached, upstreamId } = session;
  const { headers } = request;
  deps.circuits.enter(reached.target, downstream);
  if (!deps.streams.add(reached.target.origin, downstream.response)) {
    throw new ApiError('rate_limited', {
      message: 'Too many streams of this server are open. Close one first.',
    });
  }
  const sent = [...forwardedHeaders(headers), sessionHeader, upstreamId, ...viaHeader(headers.via)];
  const failure = await new Promise<{ fault: UpstreamFault; status: number | undefined } | undefined>(
    (resolve) => {
      openStream(deps.relay, reached.target, sent, downstream, {
        opened: () => resolve(undefined),
        failed: (fault, status) => resolve({ fault, status }),
      });
    },
  );
  if (!failure) return deps.observer.succeeded(reached.connection);
  const { fault, status } = failure;
  if (fault instanceof CredentialsRefused) {
    const again = await recover(deps, reached, fault, refuseWaiting(deps), recoveries);
    return stream(deps, request, { ...session, reached: again }, downstream, recoveries + 1);
  }
  if (status === 405) throw new ApiError('method_not_allowed', { headers: { allow: 'POST, DELETE' } });
  if (status === 404) throw new ApiError('session_not_found');
  // One caller's GET says little against the server: it may offer no stream, or have one open for this session.
  if (status === undefined || isFaultStatus(status)) deps.observer.failed(reached.connection, fault);
  if (status !== undefined && status >= 400 && status < 500 && !isFaultStatus(status)) {
    throw new ApiError('upstream_rejected', { message: `The upstream rejected the request (${status}).` });
  }
  throw fault.toApiError();
}

async function end(
  deps: GatewayDeps,
  request: SessionRequest,
  { reached, id, upstreamId }: UpstreamSession,
  { response, headers: shared }: Downstream,
): Promise<void> {
  const { headers } = request;
  const sent = [...forwardedHeaders(headers), sessionHeader, upstreamId, ...viaHeader(headers.via)];
  const signal = AbortSignal.timeout(deps.limits.endSessionMs);
  const status = await endAtUpstream(deps, reached.target, sent, signal).catch(() => undefined);
  // The server does not let clients end sessions (MCP 2025-11-25, basic/transports).
  if (status === 405) throw new ApiError('method_not_allowed', { headers: { allow: 'GET, POST' } });
  await deps.callerSessions.end(id);
  response.writeHead(204, shared).end();
}

/** The status that the upstream answers, behind its redirects. Throws what undici or `redirectPath` throws. */
async function endAtUpstream(
  { transport: { dispatcher, limits } }: GatewayDeps,
  target: Target,
  headers: readonly string[],
  signal: AbortSignal,
): Promise<number> {
  let path = target.path;
  for (let redirectsLeft = limits.redirects; ; redirectsLeft--) {
    const {
      statusCode,
      headers: answered,
      body,
    } = await dispatcher.request({
      origin: target.origin,
      path,
      method: 'DELETE',
      headers: [...target.headers.reveal(), ...headers],
      signal,
    });
    body.on('error', () => {}).destroy();
    if (statusCode < 300 || statusCode > 399) return statusCode;
    path = redirectPath(target, path, statusCode, singleValue(answered.location), redirectsLeft);
  }
}
