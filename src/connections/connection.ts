import type { Selectable } from 'kysely';
import { z } from 'zod';
import { type ServerInfo, serverInfoSchema } from '../mcp/server-info.ts';
import type { ConnectionRow } from '../platform/store/schema.ts';
import type { Protocol } from '../upstream/negotiate.ts';
import type { ConnectionSettings } from './connection-settings.ts';
import type { CredentialProfile } from './inputs/profile.ts';
import type { LoginNeed } from './oauth/login-need.ts';
import type { SeenInstructions } from './pins/instructions.ts';
import { isWaiting, type Status, statusSchema } from './status.ts';

export const mockSchema = z
  .strictObject({
    enabled: z.boolean().meta({ description: 'Turn mock mode on for this connection.' }),
    scenario: z
      .string()
      .optional()
      .meta({ description: 'Starting state for the simulator, in plain words.' }),
  })
  .meta({ id: 'MockConfig' });

/** A connection as the API shows it (seed: Connection); no field more, no field less. */
export const connectionSchema = z
  .strictObject({
    connectionId: z.string().meta({ examples: ['clever-dolphin-a9X3'] }),
    name: z.string(),
    transport: z.enum(['http', 'uplink']).optional(),
    mcpUrl: z.string().nullable().meta({ description: 'URL of the MCP server; null for uplinks.' }),
    metadata: z.record(z.string(), z.unknown()).nullable(),
    mock: mockSchema.optional(),
    iconUrl: z.string().nullable().optional(),
    createdAt: z.string().optional().meta({ description: 'ISO 8601' }),
    status: statusSchema.optional(),
    serverInfo: serverInfoSchema.optional(),
  })
  .meta({ id: 'Connection' });

export type ConnectionView = z.infer<typeof connectionSchema>;

/** A stored connection. */
export interface Connection {
  uid: string;
  namespace: string;
  id: string;
  name: string;
  transport: 'http' | 'uplink';
  /** Empty for an uplink, which has no address. */
  mcpUrl: string;
  metadata: Record<string, unknown> | null;
  iconUrl: string | null;
  serverInfo: ServerInfo | undefined;
  sealedHeaders: string | null;
  targetVersion: number;
  status: Status;
  statusAt: number;
  protocol: Protocol | undefined;
  /** What the server tells models about itself; undefined before it was asked. */
  instructions: SeenInstructions | undefined;
  probeAt: number | null;
  probeClaim: number | null;
  probeAttempt: number;
  /** What the server asks of its user; null while that is nothing. */
  inputs: CredentialProfile | null;
  /** Where the user logs in; stays until the connection works again. */
  login: LoginNeed | null;
  /** Setup tickets and logins of an older epoch are void. */
  setupEpoch: number;
  settings: ConnectionSettings;
  /** The process that holds the tunnel of an uplink; null while none does. */
  uplinkHolder: string | null;
  createdAt: number;
}

/**
 * A row as the program holds it: JSON columns parsed, times in milliseconds since 1970. Throws SyntaxError where a
 * column holds no JSON, which only a write past this program can bring about.
 */
export function fromRow(row: Selectable<ConnectionRow>): Connection {
  return {
    uid: row.uid,
    namespace: row.namespace,
    id: row.id,
    name: row.name,
    transport: row.transport as Connection['transport'],
    mcpUrl: row.mcp_url ?? '',
    metadata: row.metadata === null ? null : JSON.parse(row.metadata),
    iconUrl: row.icon_url,
    serverInfo: row.server_info === null ? undefined : JSON.parse(row.server_info),
    sealedHeaders: row.sealed_headers,
    targetVersion: row.target_version,
    status: JSON.parse(row.status),
    statusAt: row.status_at,
    protocol: row.protocol === null ? undefined : JSON.parse(row.protocol),
    instructions: row.instructions === null ? undefined : JSON.parse(row.instructions),
    probeAt: row.probe_at,
    probeClaim: row.probe_claim,
    probeAttempt: row.probe_attempt,
    inputs: row.inputs === null ? null : JSON.parse(row.inputs),
    login: row.login === null ? null : JSON.parse(row.login),
    setupEpoch: row.setup_epoch,
    settings: {
      callTimeoutMs: row.call_timeout_ms,
      idleTimeoutMs: row.idle_timeout_ms,
      maxCallMs: row.max_call_ms,
    },
    uplinkHolder: row.uplink_holder,
    createdAt: row.created_at,
  };
}

/** The API's form of a stored connection. `setupUrl` makes the address for a connection that waits for its user. */
export function present(
  connection: Connection,
  setupUrl: (connection: Connection) => string,
): ConnectionView {
  const view: ConnectionView = {
    connectionId: connection.id,
    name: connection.name,
    transport: connection.transport,
    mcpUrl: connection.transport === 'uplink' ? null : connection.mcpUrl,
    metadata: connection.metadata,
    iconUrl: connection.iconUrl,
    createdAt: new Date(connection.createdAt).toISOString(),
    status: presentStatus(connection, setupUrl),
  };
  if (connection.serverInfo) view.serverInfo = connection.serverInfo;
  return view;
}

/** The status as readers get it. Clients look for the address under either name (api.md §4). */
export function presentStatus(connection: Connection, setupUrl: (connection: Connection) => string): Status {
  const { status } = connection;
  if (!isWaiting(status)) return status;
  const url = setupUrl(connection);
  return status.state === 'auth_required'
    ? { ...status, setupUrl: url, authorizationUrl: url }
    : { ...status, setupUrl: url };
}
