import { z } from 'zod';
import type { AuditFilter } from '../../audit/read.ts';
import type { AuditRow } from '../../platform/store/schema.ts';
import { isStorableText } from '../../platform/store/storable-text.ts';

const text = z.string().min(1).max(512).refine(isStorableText, 'must have no control characters').optional();
const instant = z.iso.datetime({ offset: true }).optional();

/** What both routes filter by. */
export const auditFilterSchema = z.strictObject({
  namespace: text,
  connectionId: text,
  keyId: text,
  tokenId: text,
  userId: text,
  method: text.meta({ description: 'JSON-RPC method, or the name of an action such as `tokens/create`.' }),
  tool: text,
  outcome: z.enum(['ok', 'tool_error', 'rpc_error', 'failed', 'cancelled']).optional(),
  since: instant.meta({ description: 'ISO 8601; entries that began then or later.' }),
  until: instant.meta({ description: 'ISO 8601; entries that began before.' }),
});

export const auditEntrySchema = z
  .strictObject({
    id: z.string(),
    time: z.string().meta({ description: 'ISO 8601: when it began' }),
    principal: z.strictObject({
      kind: z.string(),
      keyId: z.string().nullable(),
      tokenId: z.string().nullable(),
      userId: z.string().nullable().meta({ description: 'The member who did it, or whose key did' }),
    }),
    namespace: z.string().nullable(),
    connectionId: z.string().nullable(),
    method: z.string(),
    tool: z.string().nullable(),
    outcome: z.string(),
    code: z.string().nullable(),
    status: z.int().nullable(),
    durationMs: z.int(),
    bytesIn: z.int(),
    bytesOut: z.int(),
    traceId: z.string().nullable(),
    detail: z.unknown().meta({
      description:
        'What was asked and answered, without what looks like a secret: `asked`, `answered`. null unless the namespace has `auditDetail`.',
    }),
  })
  .meta({ id: 'AuditEntry' });

/** The filter of a query string. */
export function filterOf({ since, until, ...rest }: z.infer<typeof auditFilterSchema>): AuditFilter {
  return {
    ...rest,
    since: since === undefined ? undefined : Date.parse(since),
    until: until === undefined ? undefined : Date.parse(until),
  };
}

/** A row in the API's shape. */
export function presentEntry(row: AuditRow): z.infer<typeof auditEntrySchema> {
  return {
    id: row.id,
    time: new Date(row.time).toISOString(),
    principal: {
      kind: row.principal_kind,
      keyId: row.key_id,
      tokenId: row.token_id,
      userId: row.user_id,
    },
    namespace: row.namespace,
    connectionId: row.connection_id,
    method: row.method,
    tool: row.tool,
    outcome: row.outcome,
    code: row.code,
    status: row.status,
    durationMs: row.duration_ms,
    bytesIn: row.bytes_in,
    bytesOut: row.bytes_out,
    traceId: row.trace_id,
    detail: row.detail === null ? null : JSON.parse(row.detail),
  };
}
