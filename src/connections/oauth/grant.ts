import type { AuthorizationServerMetadata, OAuthTokens } from '@modelcontextprotocol/client';
import type { Kysely, Selectable } from 'kysely';
import type { GrantRow, Tables } from '../../platform/store/schema.ts';
import { sealedFor } from '../../platform/store/sealed-columns.ts';
import type { ConnectionsDeps } from '../deps.ts';
import type { OAuthClient } from './clients.ts';
import type { LoginServer } from './discover.ts';

/** What an authorization server granted for a connection, opened. */
export interface Grant {
  connectionUid: string;
  namespace: string;
  /** Grows with each stored token: whoever acts on an older one finds that it lost. */
  version: number;
  server: Pick<LoginServer, 'issuer' | 'metadata' | 'resource'>;
  client: OAuthClient;
  /** As granted; as asked for, where the server did not say (RFC 6749 §5.1). */
  scope: string | undefined;
  /** Where the upstream's challenge pointed to, for the next login. */
  resourceMetadataUrl: string | undefined;
  /** How often more scopes were asked for. */
  stepUps: number;
  /** When its user, or client, logged in; epoch milliseconds. */
  loggedInAt: number;
  accessToken: string;
  refreshToken: string | undefined;
  /** Milliseconds since the epoch; undefined where the server did not say. */
  expiresAt: number | undefined;
  /** How long the access token lives from its request on. */
  lifetimeMs: number | undefined;
  /** Not before then is a renewal tried again. */
  refreshAt: number | undefined;
  refreshAttempt: number;
}

interface Details {
  issuer: string;
  metadata: AuthorizationServerMetadata | undefined;
  resource: string | undefined;
  scope: string | undefined;
  resourceMetadataUrl: string | undefined;
  stepUps: number;
  loggedInAt: number;
  lifetimeMs: number | undefined;
}

interface Sealed {
  accessToken: string;
  refreshToken: string | undefined;
  client: OAuthClient;
}

/** Whether a grant can be renewed without its user. */
export function isRenewable({ refreshToken, client }: Pick<Grant, 'refreshToken' | 'client'>): boolean {
  return refreshToken !== undefined || client.grantType === 'client_credentials';
}

/** The grant of a connection; undefined where it has none. */
export async function readGrant(
  { store, keyring }: Pick<ConnectionsDeps, 'store' | 'keyring'>,
  connectionUid: string,
): Promise<Grant | undefined> {
  const row = await store.db
    .selectFrom('grants')
    .selectAll()
    .where('connection_uid', '=', connectionUid)
    .executeTakeFirst();
  return row && openGrant(keyring, row);
}

async function openGrant(keyring: ConnectionsDeps['keyring'], row: Selectable<GrantRow>): Promise<Grant> {
  const { issuer, metadata, resource, ...details }: Details = JSON.parse(row.details);
  const plain = await keyring.unseal(row.namespace, sealedFor.grant(row.connection_uid), row.sealed);
  const { accessToken, refreshToken, client }: Sealed = JSON.parse(plain.toString('utf8'));
  return {
    connectionUid: row.connection_uid,
    namespace: row.namespace,
    version: row.version,
    server: { issuer, metadata, resource },
    client,
    ...details,
    accessToken,
    refreshToken,
    expiresAt: row.expires_at ?? undefined,
    refreshAt: row.refresh_at ?? undefined,
    refreshAttempt: row.refresh_attempt,
  };
}

/** A grant as it came from the authorization server, not yet stored. */
export interface NewGrant {
  server: Grant['server'];
  client: OAuthClient;
  tokens: OAuthTokens;
  /** Asked for; counts where the answer names none. */
  scope: string | undefined;
  resourceMetadataUrl: string | undefined;
  stepUps: number;
  loggedInAt: number;
  /** When the request was sent: a lifetime counts from no later than that. */
  requestedAt: number;
}

/**
 * The columns of a grant. Seals with a query of its own, so call it before the transaction begins.
 * A lifetime that is no positive number is none (pains 11: use it until a 401).
 */
export async function grantColumns(
  keyring: ConnectionsDeps['keyring'],
  namespace: string,
  connectionUid: string,
  { server, client, tokens, scope, resourceMetadataUrl, stepUps, loggedInAt, requestedAt }: NewGrant,
) {
  const sealed: Sealed = {
    accessToken: tokens.access_token,
    refreshToken: tokens.refresh_token || undefined,
    client,
  };
  const { issuer, metadata, resource } = server;
  const seconds = Number(tokens.expires_in);
  const lifetimeMs = seconds > 0 && seconds < 1e10 ? Math.round(seconds * 1000) : undefined;
  const details: Details = {
    issuer,
    metadata,
    resource,
    scope: tokens.scope ?? scope,
    resourceMetadataUrl,
    stepUps,
    loggedInAt,
    lifetimeMs,
  };
  return {
    namespace,
    details: JSON.stringify(details),
    sealed: await keyring.seal(
      namespace,
      sealedFor.grant(connectionUid),
      Buffer.from(JSON.stringify(sealed), 'utf8'),
    ),
    expires_at: lifetimeMs === undefined ? null : requestedAt + lifetimeMs,
    refresh_at: null,
    refresh_attempt: 0,
    refresh_claim: null,
  };
}

/**
 * Puts a grant in the place of whatever the connection had. Versions begin at the time, so that those of a grant that
 * ended do not come again.
 */
export async function insertGrant(
  transaction: Kysely<Tables>,
  connectionUid: string,
  columns: Awaited<ReturnType<typeof grantColumns>>,
  now: number,
): Promise<void> {
  await transaction
    .insertInto('grants')
    .values({ connection_uid: connectionUid, version: now, ...columns })
    .onConflict((conflict) =>
      conflict.column('connection_uid').doUpdateSet((update) => ({
        ...columns,
        version: update('grants.version', '+', 1),
      })),
    )
    .execute();
}
