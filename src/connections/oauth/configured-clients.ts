import { hash } from 'node:crypto';
import type { Selectable } from 'kysely';
import { lockNamespace } from '../../identity/lock-namespace.ts';
import { ApiError } from '../../platform/errors.ts';
import type { Keyring } from '../../platform/keyring.ts';
import { Secret } from '../../platform/secret.ts';
import type { OAuthClientRow } from '../../platform/store/schema.ts';
import { sealedFor } from '../../platform/store/sealed-columns.ts';
import { isDuplicate, isMissingReference } from '../../platform/store/store.ts';
import { refusedCredentials, UpstreamFault } from '../../upstream/fault.ts';
import type { ConnectionsDeps } from '../deps.ts';
import {
  appliesToKey,
  type ClientDetails,
  type ConfiguredClientView,
  detailsOf,
  type GrantType,
  isSameIssuer,
  presentConfiguredClient,
  type TokenEndpointAuthMethod,
} from './configured-client.ts';

/** A client that the tenant registered by hand with an authorization server, ready for use at its token endpoint. */
export interface ConfiguredClient {
  id: string;
  clientId: string;
  clientSecret: Secret<string> | undefined;
  /** A JWK as JSON, whichever form it was given in. */
  privateKey: Secret<string> | undefined;
  /** Of the client's signatures; there exactly if `privateKey` is. */
  algorithm: string | undefined;
  tokenEndpointAuthMethod: TokenEndpointAuthMethod;
  grantType: GrantType;
  scope: string | undefined;
}

/** A client to be stored. `proof` is the client secret, or the private key as a JWK; undefined for a public client. */
export interface NewConfiguredClient {
  details: ClientDetails;
  proof: Secret<string> | undefined;
}

/**
 * The client that the namespace configured for an MCP server, else the one for its authorization server, if any.
 * `issuer` is as the server's metadata has it; undefined before discovery. Throws UpstreamFault `refused_credentials` if
 * the client of the MCP server is for another authorization server.
 */
export async function findConfiguredClient(
  { store, keyring }: Pick<ConnectionsDeps, 'store' | 'keyring'>,
  namespace: string,
  { mcpUrl, issuer }: { mcpUrl: string; issuer: string | undefined },
): Promise<ConfiguredClient | undefined> {
  const forServer = appliesToKey({ server: mcpUrl });
  // The issuer is the upstream's text, and may hold what PostgreSQL takes for no text at all.
  const isIssuer = issuer !== undefined && /^[\x21-\x7e]+$/.test(issuer);
  const keys = isIssuer ? [forServer, appliesToKey({ issuer })] : [forServer];
  const rows = await store.db
    .selectFrom('oauth_clients')
    .selectAll()
    .where('namespace', '=', namespace)
    .where('applies_to', 'in', keys)
    .execute();
  const row = rows.find(({ applies_to }) => applies_to === forServer) ?? rows[0];
  if (row?.applies_to === forServer && issuer !== undefined) await keepToIssuer(store, row, issuer);
  return row && open(keyring, row);
}

/** A client that is filed for an MCP server goes to one authorization server, whatever that server names later. */
async function keepToIssuer(
  store: ConnectionsDeps['store'],
  row: Selectable<OAuthClientRow>,
  issuer: string,
): Promise<void> {
  const details = detailsOf(row);
  if (details.issuer !== undefined) {
    if (isSameIssuer(details.issuer, issuer)) return;
    throw new UpstreamFault(
      'refused_credentials',
      `${refusedCredentials} (401), and its authorization server is not the one that the client in oauth-clients is for`,
    );
  }
  const pinned = await store.db
    .updateTable('oauth_clients')
    .set({ details: JSON.stringify({ ...details, issuer }) })
    .where('id', '=', row.id)
    .where('details', '=', row.details)
    .executeTakeFirst();
  if (pinned.numUpdatedRows > 0n) return;
  // Another login has just pinned it, or the client is gone.
  throw new UpstreamFault('unreachable', 'the OAuth client of this server has just changed');
}

/** The client with row id `id`; undefined if the namespace has none, or none any more. */
export async function findConfiguredClientById(
  { store, keyring }: Pick<ConnectionsDeps, 'store' | 'keyring'>,
  namespace: string,
  id: string,
): Promise<ConfiguredClient | undefined> {
  const row = await store.db
    .selectFrom('oauth_clients')
    .selectAll()
    .where('namespace', '=', namespace)
    .where('id', '=', id)
    .executeTakeFirst();
  return row && open(keyring, row);
}

/**
 * Stores a client. Throws ApiError `already_exists` if the namespace has one for the same issuer or server,
 * `validation_error` if it has as many as it may, `namespace_not_found` if it was deleted meanwhile.
 */
export async function createConfiguredClient(
  deps: Pick<ConnectionsDeps, 'store' | 'keyring' | 'clock' | 'limits'>,
  namespace: string,
  { details, proof }: NewConfiguredClient,
): Promise<ConfiguredClientView> {
  const { store, keyring, clock, limits } = deps;
  const id = clientRowId(namespace, details);
  const home = await store.db
    .selectFrom('namespaces')
    .select(['organization_id', 'created_at'])
    .where('name', '=', namespace)
    .executeTakeFirst();
  const sealed = proof
    ? await keyring
        .seal(namespace, sealedFor.oauthClient(id), Buffer.from(proof.reveal(), 'utf8'))
        .catch((error: unknown) => {
          throw isMissingReference(error) ? new ApiError('namespace_not_found') : error;
        })
    : null;
  try {
    const row = await store.write(async (transaction) => {
      // A namespace that was deleted and made again meanwhile is another one, with another key.
      const still = await lockNamespace(transaction, namespace);
      if (!still || still.organization_id !== home?.organization_id || still.created_at !== home.created_at) {
        throw new ApiError('namespace_not_found');
      }
      const { count } = await transaction
        .selectFrom('oauth_clients')
        .select((row) => row.fn.countAll<number>().as('count'))
        .where('namespace', '=', namespace)
        .executeTakeFirstOrThrow();
      if (count >= limits.oauthClientsPerNamespace) {
        throw new ApiError('validation_error', {
          message: `A namespace has at most ${limits.oauthClientsPerNamespace} OAuth clients. Delete one first.`,
        });
      }
      return transaction
        .insertInto('oauth_clients')
        .values({
          id,
          namespace,
          applies_to: appliesToKey(details),
          details: JSON.stringify(details),
          sealed,
          created_at: clock.now(),
        })
        .returningAll()
        .executeTakeFirstOrThrow();
    });
    return presentConfiguredClient(row);
  } catch (error) {
    if (!isDuplicate(error)) throw error;
    throw new ApiError('already_exists', {
      message: `The namespace has an OAuth client for this ${details.issuer === undefined ? 'server' : 'issuer'} already. Delete it first.`,
    });
  }
}

/** The clients of a namespace, oldest first. */
export async function listConfiguredClients(
  { store }: Pick<ConnectionsDeps, 'store'>,
  namespace: string,
): Promise<ConfiguredClientView[]> {
  const rows = await store.db
    .selectFrom('oauth_clients')
    .selectAll()
    .where('namespace', '=', namespace)
    .orderBy('created_at')
    .orderBy('id')
    .execute();
  return rows.map(presentConfiguredClient);
}

/** Deletes the client with row id `id`. Throws ApiError `not_found`. */
export async function deleteConfiguredClient(
  { store }: Pick<ConnectionsDeps, 'store'>,
  namespace: string,
  id: string,
): Promise<void> {
  if (!/^oac_[\w-]+$/.test(id)) throw notFound();
  const deleted = await store.write((transaction) =>
    transaction
      .deleteFrom('oauth_clients')
      .where('namespace', '=', namespace)
      .where('id', '=', id)
      .executeTakeFirst(),
  );
  if (deleted.numDeletedRows === 0n) throw notFound();
}

/**
 * The row's id follows from what the client is, so that one that is deleted and configured again with a new secret is
 * still the one that its grants were given to.
 */
function clientRowId(namespace: string, details: ClientDetails): string {
  const identity = JSON.stringify([namespace, appliesToKey(details), details.clientId]);
  return `oac_${hash('sha256', identity, 'base64url').slice(0, 22)}`;
}

async function open(keyring: Keyring, row: Selectable<OAuthClientRow>): Promise<ConfiguredClient> {
  const { clientId, tokenEndpointAuthMethod, algorithm, grantType, scope } = detailsOf(row);
  const proof =
    row.sealed === null
      ? undefined
      : new Secret(
          (await keyring.unseal(row.namespace, sealedFor.oauthClient(row.id), row.sealed)).toString('utf8'),
        );
  const hasKey = tokenEndpointAuthMethod === 'private_key_jwt';
  return {
    id: row.id,
    clientId,
    clientSecret: hasKey ? undefined : proof,
    privateKey: hasKey ? proof : undefined,
    algorithm,
    tokenEndpointAuthMethod,
    grantType,
    scope,
  };
}

function notFound(): ApiError {
  return new ApiError('not_found', { message: 'OAuth client not found' });
}
