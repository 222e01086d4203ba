import type { Generated } from 'kysely';

/** What a member is in an organization. */
export type Role = 'owner' | 'admin' | 'member';

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
    last_used_at: number | null;
    /** Whose key it is; null for one of the organization itself. */
    user_id: Generated<string | null>;
  };
  users: {
    id: string;
    name: string;
    email: string | null;
    /** Of the provider that they sign in with, and what they are there; null for who signs in with an API key. */
    issuer: string | null;
    subject: string | null;
    created_at: number;
  };
  members: { organization_id: string; user_id: string; role: Role; created_at: number };
  /** Links with which somebody may become a member, and who gave them: a key of the organization, or a member. */
  invitations: {
    id: string;
    organization_id: string;
    /** SHA-256 of the secret in the link, base64url. */
    hash: string;
    role: Role;
    key_id: string | null;
    user_id: string | null;
    created_at: number;
    expires_at: number;
  };
  /** Browsers that are signed in: by an API key, as a user, or both. */
  browser_sessions: {
    /** SHA-256 of what the cookie holds, base64url. */
    hash: string;
    /** Names it where its secret must not stand. */
    id: string;
    key_id: string | null;
    user_id: string | null;
    /** The one that it acts in; null for a user who is member of none. */
    organization_id: string | null;
    expires_at: number;
  };
  /** Logins of a command line that somebody decided on, and who that was. */
  cli_logins: {
    /** SHA-256 of the secret of the command line, base64url. */
    hash: string;
    key_id: string | null;
    user_id: string | null;
    organization_id: string;
    state: 'allowed' | 'declined' | 'taken';
    expires_at: number;
  };
  /** Which definitions of tools, and instructions, are accepted, and what has changed since (connections/pins). */
  pins: {
    connection_uid: string;
    revision: number;
    /** JSON: pairs of name and hash. */
    tools: string;
    /** JSON. */
    changes: string;
    /** JSON; null before a server was asked for them. */
    instructions: Generated<string | null>;
  };
  /** Keys that service tokens are signed with: Ed25519, of the whole installation. */
  signing_keys: {
    kid: string;
    public_jwk: string;
    /** The private key, wrapped with the master key; null once it signs no more. */
    wrapped: string | null;
    created_at: number;
    /** When it ceased to sign; what it has signed before stays good. */
    retired_at: number | null;
  };
  /** Service tokens that were called back before their time. */
  revoked_tokens: { organization_id: string; token_id: string; expires_at: number };
  namespaces: {
    name: string;
    organization_id: string;
    created_at: number;
    /** As JSON; null while nothing was set. */
    settings: Generated<string | null>;
  };
  data_keys: { namespace: string; version: number; wrapped: string; created_at: number };
  connections: ConnectionRow;
  /** Processes that may hold tunnels of uplinks, and until when they count as alive. */
  uplink_holders: { id: string; alive_until: number };
  /** One row per metadata entry, for equality filters that work alike on both databases. */
  connection_metadata: { connection_uid: string; namespace: string; key_hash: string; value_hash: string };
  grants: GrantRow;
  logins: LoginRow;
  oauth_clients: OAuthClientRow;
  /** Dynamic client registrations (RFC 7591), by issuer and redirect URI. */
  oauth_registrations: {
    namespace: string;
    issuer: string;
    redirect_uri: string;
    sealed: string;
    created_at: number;
  };
  webhooks: {
    id: string;
    namespace: string;
    url: string;
    /** Names of events, as JSON. */
    events: string;
    sealed_secret: string;
    created_at: number;
  };
  webhook_deliveries: WebhookDeliveryRow;
  /** Sessions of callers that were ended before their time. */
  ended_sessions: { id_hash: string; expires_at: number };
  /** What callers of modern servers asked for in their sessions: `log_level`, or `resource:` and a URI. */
  session_wishes: { id_hash: string; name: string; value: string; expires_at: number };
  /** What callers said in their sessions to a process in which it is not awaited. */
  session_mail: { id: string; namespace: string; id_hash: string; sealed: string; expires_at: number };
  audit: AuditRow;
}

/** One call or control action that has ended. */
export interface AuditRow {
  /** In the order of writing of its process. */
  id: string;
  /** When it began. */
  time: number;
  organization_id: string;
  namespace: string | null;
  connection_uid: string | null;
  connection_id: string | null;
  principal_kind: string;
  key_id: string | null;
  /** Of a service token; null for other principals. */
  token_id: string | null;
  /** Who it was, or for whom the key was made; null for a key of the organization. */
  user_id: string | null;
  method: string;
  tool: string | null;
  outcome: string;
  /** Number of the JSON-RPC error or code of ours; null where all went well. */
  code: string | null;
  /** HTTP status; null if the caller went away before. */
  status: number | null;
  duration_ms: number;
  bytes_in: number;
  bytes_out: number;
  trace_id: string | null;
  /** What was asked and answered, without secrets, as JSON; null where the namespace keeps none. */
  detail: string | null;
}

/** What an authorization server granted for a connection. */
export interface GrantRow {
  connection_uid: string;
  namespace: string;
  /** Grows with each stored token: whoever acts on an older one finds that it lost. */
  version: number;
  /** Issuer, endpoints, client id, scope, resource, as JSON. */
  details: string;
  /** Tokens and client secret. */
  sealed: string;
  /** When the access token expires; null where the server did not say. */
  expires_at: number | null;
  /** Not before then is a refresh tried again; null after a success. */
  refresh_at: number | null;
  refresh_attempt: Generated<number>;
  /** Until when a process refreshes for all; null while none does. */
  refresh_claim: number | null;
}

/** A login that a browser has begun at an authorization server, until its callback. */
interface LoginRow {
  /** SHA-256 of `state`. */
  state_hash: string;
  connection_uid: string;
  namespace: string;
  setup_epoch: number;
  /** SHA-256 of the cookie of the browser that began it. */
  browser_hash: string;
  /** PKCE verifier, client, endpoints. */
  sealed: string;
  expires_at: number;
}

/** A client that the tenant registered with a provider by hand. */
export interface OAuthClientRow {
  id: string;
  namespace: string;
  /** `issuer:<url>` or `server:<mcpUrl>`. */
  applies_to: string;
  /** Client id, authentication method, grant type, scope, as JSON. */
  details: string;
  /** Client secret or private key; null for a public client. */
  sealed: string | null;
  created_at: number;
}

/** An event on its way to a webhook. */
export interface WebhookDeliveryRow {
  /** The message id, the same at every attempt. */
  id: string;
  webhook_id: string;
  body: string;
  created_at: number;
  attempt: Generated<number>;
  due_at: number;
  /** Until when a process delivers it; null while none does. */
  claim: number | null;
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
  /** What the server tells models about itself, as that probe saw it: JSON of the hash, and of the text if there was room. */
  instructions: Generated<string | null>;
  /** When the next background probe is due; null while none is needed. */
  probe_at: number | null;
  /** Until when a process holds the probe for itself; null while none does. */
  probe_claim: number | null;
  probe_attempt: Generated<number>;
  /** What the upstream asks of its user (`/.well-known/mcp-config`), as JSON. */
  inputs: Generated<string | null>;
  /** Where its user logs in and for what, as a 401 of the upstream led to it, as JSON. */
  login: Generated<string | null>;
  /** Grows when a setup is completed: older setup tickets and logins are void then. */
  setup_epoch: Generated<number>;
  /** Time limits of calls that were set for it; null where the default counts. */
  call_timeout_ms: Generated<number | null>;
  idle_timeout_ms: Generated<number | null>;
  max_call_ms: Generated<number | null>;
  /** The process that holds the tunnel of an uplink; null while none does. */
  uplink_holder: Generated<string | null>;
  created_at: number;
}
