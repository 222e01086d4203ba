import { hash, randomBytes } from 'node:crypto';
import type { Clock } from '../../platform/clock.ts';
import { ApiError } from '../../platform/errors.ts';
import { rowId } from '../../platform/ids.ts';
import type { Limits } from '../../platform/limits.ts';
import { Secret } from '../../platform/secret.ts';
import type { Role } from '../../platform/store/schema.ts';
import { isStorableText } from '../../platform/store/storable-text.ts';
import type { Store } from '../../platform/store/store.ts';
import { type CreatedApiKey, insertApiKey } from '../api-keys/create.ts';
import type { Principal } from '../principal.ts';
import { checkOwnerChange, lockRoles } from './role.ts';
import { insertUser } from './users.ts';

export interface InvitationDeps {
  store: Store;
  clock: Clock;
  limits: Limits;
}

/** An invitation that waits for somebody to come with its link. */
export interface Invitation {
  id: string;
  role: Role;
  /** Epoch milliseconds. */
  createdAt: number;
  expiresAt: number;
}

/** What the page says of an invitation before somebody takes it. */
export interface OpenInvitation {
  organization: { id: string; name: string };
  role: Role;
  /** The member who gave it; null if it was given with a key of the organization. */
  invitedBy: string | null;
  /** Epoch milliseconds. */
  expiresAt: number;
}

/** Who takes an invitation: a user who is signed in, or somebody who is made one, and signs in with an API key. */
export type Invited = { userId: string } | { name: string };

/** How taking it ended. `key` is for who was made a user, and shown nowhere else. */
export type Taken =
  | { kind: 'gone' }
  | { kind: 'already_member'; organizationId: string }
  | { kind: 'joined'; organizationId: string; userId: string; key: CreatedApiKey | undefined };

/**
 * Makes a link with which one person may become a member. `secret` is for that link and kept nowhere. Throws ApiError
 * `forbidden` for a role that the caller may not give, `too_many_invitations`.
 */
export async function createInvitation(
  { store, clock, limits }: InvitationDeps,
  principal: Principal,
  role: Role,
): Promise<Invitation & { secret: Secret<string> }> {
  const { organizationId, userId, keyId } = principal;
  const secret = randomBytes(32).toString('base64url');
  const createdAt = clock.now();
  const invitation = { id: rowId('inv'), role, createdAt, expiresAt: createdAt + limits.invitationMs };
  await store.write(async (transaction) => {
    checkOwnerChange(principal, await lockRoles(transaction, organizationId), undefined, role);
    await transaction
      .deleteFrom('invitations')
      .where('organization_id', '=', organizationId)
      .where('expires_at', '<=', createdAt)
      .execute();
    const { open } = await transaction
      .selectFrom('invitations')
      .select(({ fn }) => fn.countAll<number>().as('open'))
      .where('organization_id', '=', organizationId)
      .executeTakeFirstOrThrow();
    if (Number(open) >= limits.invitationsPerOrganization) {
      throw new ApiError('limit_reached', {
        message: `The organization has ${limits.invitationsPerOrganization} open invitations: revoke one first.`,
      });
    }
    await transaction
      .insertInto('invitations')
      .values({
        id: invitation.id,
        organization_id: organizationId,
        hash: hashOf(secret),
        role,
        key_id: userId === null ? keyId : null,
        user_id: userId,
        created_at: createdAt,
        expires_at: invitation.expiresAt,
      })
      .execute();
  });
  return { ...invitation, secret: new Secret(secret) };
}

/** The invitations of an organization that wait, oldest first. */
export async function listInvitations(
  { store, clock }: InvitationDeps,
  organizationId: string,
): Promise<Invitation[]> {
  const rows = await store.db
    .selectFrom('invitations')
    .select(['id', 'role', 'created_at', 'expires_at'])
    .where('organization_id', '=', organizationId)
    .where('expires_at', '>', clock.now())
    .orderBy('created_at')
    .orderBy('id')
    .execute();
  return rows.map(({ id, role, created_at, expires_at }) => ({
    id,
    role,
    createdAt: created_at,
    expiresAt: expires_at,
  }));
}

/** Ends an invitation. Throws ApiError `not_found`. */
export async function revokeInvitation(store: Store, organizationId: string, id: string): Promise<void> {
  const deleted =
    isStorableText(id) &&
    (await store.write((transaction) =>
      transaction
        .deleteFrom('invitations')
        .where('organization_id', '=', organizationId)
        .where('id', '=', id)
        .returning('id')
        .executeTakeFirst(),
    ));
  if (!deleted) throw new ApiError('not_found', { message: 'No such invitation' });
}

/** The invitation of a link; undefined once it was taken or revoked, or has expired. */
export async function findInvitation(
  { store, clock }: InvitationDeps,
  secret: string,
): Promise<OpenInvitation | undefined> {
  const row = await store.db
    .selectFrom('invitations')
    .innerJoin('organizations', 'organizations.id', 'invitations.organization_id')
    .leftJoin('users', 'users.id', 'invitations.user_id')
    .select(['organizations.id', 'organizations.name', 'role', 'users.name as invited_by', 'expires_at'])
    .where('hash', '=', hashOf(secret))
    .where('expires_at', '>', clock.now())
    .executeTakeFirst();
  return (
    row && {
      organization: { id: row.id, name: row.name },
      role: row.role,
      invitedBy: row.invited_by,
      expiresAt: row.expires_at,
    }
  );
}

/**
 * Makes who comes with a link a member, once; a new user gets an API key to sign in with. Who is a member already stays
 * what they are, and the invitation stays for somebody else.
 */
export function takeInvitation(
  { store, clock }: InvitationDeps,
  secret: string,
  invited: Invited,
): Promise<Taken> {
  const now = clock.now();
  return store.write(async (transaction, stale) => {
    const invitation = await transaction
      .deleteFrom('invitations')
      .where('hash', '=', hashOf(secret))
      .where('expires_at', '>', now)
      .returningAll()
      .executeTakeFirst();
    if (!invitation) return { kind: 'gone' };
    const { organization_id: organizationId, role } = invitation;
    const current = await lockRoles(transaction, organizationId);
    if ('userId' in invited && current.has(invited.userId)) {
      await transaction.insertInto('invitations').values(invitation).execute();
      return { kind: 'already_member', organizationId };
    }
    const userId = 'userId' in invited ? invited.userId : await insertUser(transaction, now, invited);
    await transaction
      .insertInto('members')
      .values({ organization_id: organizationId, user_id: userId, role, created_at: now })
      .execute();
    const key =
      'userId' in invited
        ? undefined
        : await insertApiKey(transaction, stale, clock, { organizationId, userId }, invited.name);
    return { kind: 'joined', organizationId, userId, key };
  });
}

function hashOf(secret: string): string {
  return hash('sha256', secret, 'base64url');
}
