import type { Generated } from 'kysely';

/**
 * The tables, for both databases: text ids, epoch milliseconds as integers, JSON as text.
 * Queries live in the room of the noun that owns the table.
 */
export interface Tables {
  facts: { name: string; value: string };
  organizations: { id: string; name: string; created_at: number };
  api_keys: {
    id: string;
    organization_id: string;
    name: string;
    /** SHA-256 of the key, base64url. */
    hash: string;
    created_at: number;
  };
  namespaces: { name: string; organization_id: string; created_at: number };
  data_keys: { namespace: string; version: number; wrapped: string; created_at: number };
  connections: ConnectionRow;
  /** One row per metadata entry, for equality filters that work alike on both databases. */
  connection_metadata: { connection_uid: string; namespace: string; key_hash: string; value_hash: string };
}

export interface ConnectionRow {
  /** Never reused, unlike namespace and id: names the row in sealed values and pooled sessions. */
  uid: string;
  namespace: string;
  id: string;
  name: string;
  transport: string;
  mcp_url: string | null;
  metadata: string | null;
  icon_url: string | null;
  server_info: string | null;
  sealed_headers: string | null;
  /** Counts changes of URL or headers: what was learned about an older target does not apply to a newer. */
  target_version: number;
  status: string;
  /** When the evidence for `status` came in. */
  status_at: number;
  /** What the last successful probe learned about the upstream's protocol, as JSON. */
  protocol: string | null;
  /** When the next background probe is due; null while none is needed. */
  probe_at: number | null;
  /** Until when a process holds the probe for itself; null while none does. */
  probe_claim: number | null;
  probe_attempt: Generated<number>;
  created_at: number;
  updated_at: number;
}
