import { hash, randomBytes } from 'node:crypto';
import type { Clock } from '../../platform/clock.ts';
import { rowId } from '../../platform/ids.ts';
import type { Limits } from '../../platform/limits.ts';
import { Secret } from '../../platform/secret.ts';
import type { Store } from '../../platform/store/store.ts';
import { roleOf } from '../members/role.ts';
import type { Organization } from '../organizations.ts';
import type { Principal } from '../principal.ts';

/** A browser that is signed in: by an API key, as a user, or both. */
export interface BrowserSession {
  id: string;
  keyId: string | null;
  user: { id: string; name: string } | null;
  /** The one that it acts in; undefined for a user who is no member of it (any more), or of none. */
  organization: Organization | undefined;
  /** Epoch milliseconds. */
  expiresAt: number;
}

/** What a session stands on. */
export type SignedInWith = Pick<Principal, 'keyId' | 'userId'> & { organizationId: string | null };

export interface SignInDeps {
  store: Store;
  clock: Clock;
  limits: Limits;
}

/** Signs a browser in; who comes has been verified by the caller. Returns what its cookie holds. */
export async function openBrowserSession(
  { store, clock, limits }: SignInDeps,
  { keyId, userId, organizationId }: SignedInWith,
): Promise<Secret<string>> {
  const value = randomBytes(32).toString('base64url');
  const now = clock.now();
  await store.write(async (transaction) => {
    await transaction.deleteFrom('browser_sessions').where('expires_at', '<=', now).execute();
    await transaction
      .insertInto('browser_sessions')
      .values({
        hash: hashOf(value),
        id: rowId(idPrefix),
        key_id: keyId,
        user_id: userId,
        organization_id: organizationId,
        expires_at: now + limits.browserSessionMs,
      })
      .execute();
  });
  return new Secret(value);
}

/** The session of a cookie; undefined once it has ended, was signed out, or its key was revoked. */
export function findBrowserSession(
  deps: Pick<SignInDeps, 'store' | 'clock'>,
  value: string,
): Promise<BrowserSession | undefined> {
  return find(deps, 'hash', hashOf(value));
}

/** Who acts with a session that is named by its id; undefined once it has ended, or where it acts for nobody. */
export async function findSessionById(
  deps: Pick<SignInDeps, 'store' | 'clock'>,
  id: string,
): Promise<Principal | undefined> {
  const session = await find(deps, 'id', id);
  return session && principalOfSession(session);
}

/** Whether the root of a service token is a session. */
export function isSessionId(rootId: string): boolean {
  return rootId.startsWith(`${idPrefix}_`);
}

/** Who acts with a session; undefined if it is a user's who is member of no organization. */
export function principalOfSession({
  id,
  keyId,
  user,
  organization,
  expiresAt,
}: BrowserSession): Principal | undefined {
  return (
    organization && {
      kind: 'session',
      rootId: id,
      keyId,
      userId: user?.id ?? null,
      tokenId: null,
      organizationId: organization.id,
      role: organization.role,
      policies: [],
      ancestors: [],
      expiresAt,
      identity: id,
    }
  );
}

/** Has the session act in another organization of its user. False if the user is no member there. */
export async function switchOrganization(
  { store }: SignInDeps,
  { id, keyId, user }: BrowserSession,
  organizationId: string,
): Promise<boolean> {
  // An API key acts for one organization, and so does the session that it opened.
  if (user === null || keyId !== null) return false;
  return store.write(async (transaction, stale) => {
    const switched = await transaction
      .updateTable('browser_sessions')
      // Under a new id: service tokens of the old one are for the organization before, and end.
      .set({ organization_id: organizationId, id: rowId(idPrefix) })
      .where('id', '=', id)
      .where(({ exists, selectFrom }) =>
        exists(
          selectFrom('members')
            .select('role')
            .where('members.organization_id', '=', organizationId)
            .where('members.user_id', '=', user.id),
        ),
      )
      .returning('id')
      .executeTakeFirst();
    if (switched) stale(`root:${id}`);
    return switched !== undefined;
  });
}

/** Signs a browser out, and ends the service tokens that descend from its session. */
export async function closeBrowserSession({ store }: SignInDeps, value: string): Promise<void> {
  await store.write(async (transaction, stale) => {
    const closed = await transaction
      .deleteFrom('browser_sessions')
      .where('hash', '=', hashOf(value))
      .returning('id')
      .executeTakeFirst();
    if (closed) stale(`root:${closed.id}`);
  });
}

async function find(
  { store, clock }: Pick<SignInDeps, 'store' | 'clock'>,
  column: 'hash' | 'id',
  value: string,
): Promise<BrowserSession | undefined> {
  const row = await store.db
    .selectFrom('browser_sessions')
    .leftJoin('organizations', 'organizations.id', 'browser_sessions.organization_id')
    .leftJoin('users', 'users.id', 'browser_sessions.user_id')
    .leftJoin('members', (join) =>
      join
        .onRef('members.organization_id', '=', 'browser_sessions.organization_id')
        .onRef('members.user_id', '=', 'browser_sessions.user_id'),
    )
    .select([
      'browser_sessions.id',
      'key_id',
      'browser_sessions.user_id',
      'users.name as user_name',
      'organizations.id as organization_id',
      'organizations.name as organization_name',
      'role',
      'expires_at',
    ])
    .where(`browser_sessions.${column}`, '=', value)
    .where('expires_at', '>', clock.now())
    .executeTakeFirst();
  if (!row) return undefined;
  const { organization_id, organization_name, user_id, user_name } = row;
  const role = roleOf(row);
  return {
    id: row.id,
    keyId: row.key_id,
    user: user_id === null ? null : { id: user_id, name: user_name as string },
    organization:
      organization_id !== null && role
        ? { id: organization_id, name: organization_name as string, role }
        : undefined,
    expiresAt: row.expires_at,
  };
}

const idPrefix = 'ses';

function hashOf(value: string): string {
  return hash('sha256', value, 'base64url');
}
