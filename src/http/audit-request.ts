import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Actor, AuditEntry } from '../audit/entry.ts';
import type { Connection } from '../connections/connection.ts';
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
  const entry = newEntry(
    deps,
    request,
    request.principal,
    namespace,
    audit === true ? request.method : audit,
  );
  entry.connectionId = connectionId;
  entry.connectionUid = uidOf(deps, entry);
  if (entry.keepsDetail) keepDetail(deps, reply.raw, entry);
  recordAtEnd(deps, reply, entry);
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
  const entry = newEntry(deps, request, actor, namespace, method);
  entry.connectionId = id;
  entry.connectionUid = uid;
  entry.bytesIn = Number(request.headers['content-length'] ?? 0);
  recordAtEnd(deps, reply, entry);
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
  recordAtEnd(deps, reply, newEntry(deps, reply.request, actor, null, method));
}

function newEntry(
  { clock, namespaces }: HttpDeps,
  request: FastifyRequest,
  actor: Actor,
  namespace: string | null,
  method: string,
): AuditEntry {
  const { traceparent } = request.headers;
  const trace = typeof traceparent === 'string' ? traceparent : undefined;
  const keepsDetail = namespace !== null && namespaces.keepsAuditDetail(namespace);
  const entry = new AuditEntry(actor, clock.now(), namespace, method, trace, keepsDetail);
  request.entry = entry;
  return entry;
}

function recordAtEnd(deps: HttpDeps, reply: FastifyReply, entry: AuditEntry): void {
  const startedAt = deps.clock.elapsed();
  const response = reply.raw;
  response.on('close', () => {
    entry.durationMs = Math.round(deps.clock.elapsed() - startedAt);
    if (response.headersSent) entry.status = response.statusCode;
    if (!response.writableFinished && entry.outcome === 'ok') entry.outcome = 'cancelled';
    // Who took the response out of the framework's hands has counted; else the framework knows.
    entry.bytesOut ||= Number(reply.getHeader('content-length') ?? 0);
    // The first call of a connection had to look it up.
    entry.connectionUid ??= uidOf(deps, entry);
    deps.audit.record(entry);
  });
}

/** From memory alone: an entry is not worth a question to the store. */
function uidOf({ resolver }: HttpDeps, { namespace, connectionId }: AuditEntry): string | null {
  if (namespace === null || connectionId === null) return null;
  return resolver.peek({ namespace, id: connectionId })?.uid ?? null;
}
