import { sessionHeader, statelessSession } from '../../mcp/headers.ts';
import { ApiError } from '../../platform/errors.ts';
import { type SessionOwner, sessionHash } from '../caller-sessions.ts';
import type { GatewayDeps } from '../deps.ts';
import type { Downstream } from '../relay-call.ts';
import { callerOf, type NamespaceRequest } from './namespace-post.ts';
import { isOffered, openListStream } from './serve-listen.ts';
import { changeFilters, watchLists } from './watch-lists.ts';

/**
 * The id of a new session of a legacy caller with the namespace. It holds nothing but whose it is, and makes two things
 * possible: a stream that tells of changed lists, and cancelling a call by notification.
 */
export function newNamespaceSession(deps: GatewayDeps, request: NamespaceRequest): string {
  return deps.callerSessions.seal(ownerOf(request), 'namespace');
}

/** The hash of the caller's session; undefined for a caller without. Throws ApiError `session_not_found`. */
export function readNamespaceSession(deps: GatewayDeps, request: NamespaceRequest): string | undefined {
  const id = sessionIdOf(request);
  if (id === undefined) return undefined;
  if (deps.callerSessions.open(ownerOf(request), id) === undefined) throw new ApiError('session_not_found');
  return sessionHash(id);
}

/** Answers a GET in a session: a stream of notices of changed lists. Throws ApiError before it begins. */
export async function streamNamespaceSession(
  deps: GatewayDeps,
  request: NamespaceRequest,
  downstream: Downstream,
): Promise<void> {
  const session = requireSession(deps, request);
  const stream = openListStream(deps, request, downstream);
  const ending = new AbortController();
  const signal = AbortSignal.any([stream.left, ending.signal]);
  const detach = deps.live.attach(session, { follow: () => {}, end: () => ending.abort() });
  try {
    const methods = new Set<string>(
      Object.entries(changeFilters).flatMap(([filter, method]) =>
        isOffered(request, filter) ? [method] : [],
      ),
    );
    const watch = await watchLists(deps, { ...callerOf(request), signal }, async (method) => {
      if (methods.has(method)) await stream.send({ jsonrpc: '2.0', method });
    });
    stream.open();
    await watch.ended;
    stream.close();
  } finally {
    detach();
  }
}

/** Answers a DELETE: ends the session, in every process. Throws ApiError. */
export async function endNamespaceSession(
  deps: GatewayDeps,
  request: NamespaceRequest,
  { response, headers }: Downstream,
): Promise<void> {
  const session = requireSession(deps, request);
  await deps.callerSessions.end(sessionIdOf(request) as string);
  deps.live.end(session);
  response.writeHead(204, headers).end();
}

function requireSession(deps: GatewayDeps, request: NamespaceRequest): string {
  const session = readNamespaceSession(deps, request);
  if (session === undefined) throw new ApiError('method_not_allowed', { headers: { allow: 'POST' } });
  return session;
}

function sessionIdOf({ headers }: NamespaceRequest): string | undefined {
  const id = headers[sessionHeader] as string | undefined;
  return id === statelessSession ? undefined : id;
}

/** No connection's row has such an id, so a session of the one is none of the other. */
function ownerOf({ namespace, principal }: NamespaceRequest): SessionOwner {
  return { uid: `namespace ${namespace}`, targetVersion: 0, caller: principal.identity };
}
