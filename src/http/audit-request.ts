import type { FastifyReply, FastifyRequest } from 'fastify';
import { AuditEntry } from '../audit/entry.ts';
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
  const { traceparent } = request.headers;
  const entry = new AuditEntry(
    request.principal,
    deps.clock.now(),
    namespace,
    audit === true ? request.method : audit,
    typeof traceparent === 'string' ? traceparent : undefined,
  );
  request.entry = entry;
  entry.connectionId = connectionId;
  entry.connectionUid = uidOf(deps, entry);
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
