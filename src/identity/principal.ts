import { ApiError } from '../platform/errors.ts';
import type { Role } from '../platform/store/schema.ts';
import type { Operation, Policy, Resource } from './tokens/constraint.ts';

/** What is granted by constraints. */
export type GrantedPermission = `${Resource}:${Operation}`;

/**
 * What a route asks of its caller. `public` needs no credential, `authenticated` any good one, `member` all but a
 * service token, `admin` an owner or admin of the organization, as its own API keys are.
 */
export type Permission = 'public' | 'authenticated' | 'member' | 'admin' | GrantedPermission;

/**
 * Who calls. An API key acts for its organization, or for a member of it, with every permission that policies grant;
 * so does the session of a browser. A service token acts for the API key or session that it descends from, as far as its
 * policies let it.
 */
export interface Principal {
  kind: 'api_key' | 'session' | 'service_token';
  /** The API key or session, or the one at the root of a service token. */
  rootId: string;
  /** That key, or the one that the session was opened with; null where a person came by another way. */
  keyId: string | null;
  /** The member who acts; null for a key of the organization. */
  userId: string | null;
  tokenId: string | null;
  organizationId: string;
  /** What it may administer. A service token administers nothing, whoever minted it. */
  role: Role;
  /** Each has to permit what is done: the token's own, and those of the tokens it was minted from. None: all is permitted. */
  policies: readonly Policy[];
  /** The service tokens that it was minted from, the first one first. */
  ancestors: readonly string[];
  /** When it ends, in epoch milliseconds; undefined for an API key. */
  expiresAt: number | undefined;
  /** Same for all tokens of one root with the same policies: what a caller began goes on with a renewed token. */
  identity: string;
}

/** The token of an `Authorization: Bearer` header (RFC 6750 §2.1). Throws ApiError `unauthorized` without one. */
export function bearerToken(header: string | undefined): string {
  const match = header === undefined ? null : /^Bearer +([\x21-\x7e]+) *$/i.exec(header);
  if (!match) throw new ApiError('unauthorized');
  return match[1] as string;
}
