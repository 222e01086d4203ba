import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Actor, AuditEntry } from '../audit/entry.ts';
import type { Connection } from '../connections/connection.ts';
import type { Principal } from '../identity/principal.ts';
import { keepDetail } from './audit/keep-detail.ts';
import type { HttpDeps } from './deps.ts';

/**
 * Begins the audit entry of a request whose route declares `audit`: whoever answers notes in `request.entry` what only
 * it knows, and the entry is recorded when the response closes, however that comes about.
 */
export function beginEntry(deps: HttpDeps, request: FastifyRequest, reply: FastifyReply): void {
  const { audit, namespaceParameter = 'namespace' } = request.routeOptions.config;
  if (audit === undefined) return;
  const params = request.params as Record<string, string | undefined>;
  const { [namespaceParameter]: namespace = null, connectionId = null } = params;
  const method = audit === true ? request.method : audit;
  const { headers, principal } = request;
  const entry = newEntry(deps, headers, principal, namespace, method);
  entry.connectionId = connectionId;
  entry.connectionUid = uidOf(deps.resolver, entry);
  if (entry.keepsDetail) keepDetail(deps, reply.raw, entry);
  recordReply(deps, reply, entry);
}

/**
 * Begins the audit entry of a call that does not go through the framework (connect/fast-path.ts); `ended` is called
 * when its response closes.
 */
export function beginCallEntry(
  deps: HttpDeps,
  headers: IncomingHttpHeaders,
  response: ServerResponse,
  { principal, namespace, connectionId }: { principal: Principal; namespace: string; connectionId: string },
  ended: () => void,
): AuditEntry {
  // The message names the method, if it can be read.
  const entry = newEntry(deps, headers, principal, namespace, 'POST');
  entry.connectionId = connectionId;
  if (entry.keepsDetail) keepDetail(deps, response, entry);
  recordAtEnd(deps, response, entry, ended);
  return entry;
}

/**
 * Begins the audit entry of a browser that came with a setup link, or back from the login that one led to: whoever holds
 * the link acts for the organization of the connection, under no name.
 */
export async function beginSetupEntry(
  deps: HttpDeps,
  reply: FastifyReply,
  { namespace, id, uid }: Connection,
  method: 'setup/open' | 'setup/submit' | 'setup/login',
): Promise<void> {
  const { request } = reply;
  const organizationId = await deps.namespaces.ownerOf(namespace);
  if (organizationId === undefined) return;
  const actor = { organizationId, kind: 'setup_link', keyId: null, tokenId: null, userId: null };
  const entry = newEntry(deps, request.headers, actor, namespace, method);
  entry.connectionId = id;
  entry.connectionUid = uid;
  entry.bytesIn = Number(request.headers['content-length'] ?? 0);
  recordReply(deps, reply, entry);
}

/** What a person does on a page of ours. */
type PageAction = 'sign-in/open' | 'cli-login/allow' | 'cli-login/decline' | 'invitations/take';

/** Begins the audit entry of it. */
export function beginPageEntry(
  deps: HttpDeps,
  reply: FastifyReply,
  { organizationId, keyId, userId }: Omit<Actor, 'kind' | 'tokenId'>,
  method: PageAction,
): void {
  const actor = { organizationId, kind: 'session', keyId, tokenId: null, userId };
  const entry = newEntry(deps, reply.request.headers, actor, null, method);
  recordReply(deps, reply, entry);
}

function newEntry(
  { clock, namespaces }: HttpDeps,
  { traceparent }: IncomingHttpHeaders,
  actor: Actor,
  namespace: string | null,
  method: string,
): AuditEntry {
  const trace = typeof traceparent === 'string' ? traceparent : undefined;
  const keepsDetail = namespace !== null && namespaces.keepsAuditDetail(namespace);
  return new AuditEntry(actor, clock.now(), namespace, method, trace, keepsDetail);
}

/** For an answer of the framework. */
function recordReply(deps: HttpDeps, reply: FastifyReply, entry: AuditEntry): void {
  reply.request.entry = entry;
  recordAtEnd(deps, reply.raw, entry, () => {
    // Who took the response out of the framework's hands has counted; else the framework knows.
    entry.bytesOut ||= Number(reply.getHeader('content-length') ?? 0);
  });
}

/** `ended` is called first. */
function recordAtEnd(
  { clock, audit, resolver }: HttpDeps,
  response: ServerResponse,
  entry: AuditEntry,
  ended: () => void,
): void {
  const startedAt = clock.elapsed();
  response.on('close', () => {
    ended();
    entry.durationMs = Math.round(clock.elapsed() - startedAt);
    if (response.headersSent) entry.status = response.statusCode;
    if (!response.writableFinished && entry.outcome === 'ok') entry.outcome = 'cancelled';
    // Where it was not known in the beginning, the call has looked it up.
    entry.connectionUid ??= uidOf(resolver, entry);
    audit.record(entry);
  });
}

/** From memory alone: an entry is not worth a question to the store. */
function uidOf(resolver: HttpDeps['resolver'], { namespace, connectionId }: AuditEntry): string | null {
  if (namespace === null || connectionId === null) return null;
  return resolver.peek({ namespace, id: connectionId })?.uid ?? null;
}
