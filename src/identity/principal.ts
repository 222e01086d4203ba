import { ApiError } from '../platform/errors.ts';
import type { Operation, Policy, Resource } from './tokens/constraint.ts';

/** What is granted by constraints. */
export type GrantedPermission = `${Resource}:${Operation}`;

/**
 * What a route asks of its caller. `public` needs no credential, `authenticated` any good one, `admin` an API key of the
 * organization.
 */
export type Permission = 'public' | 'authenticated' | 'admin' | GrantedPermission;

/**
 * Who calls. An API key acts for its organization, with every permission in it; a service token acts for the API key
 * that it descends from, as far as its policies let it.
 */
export interface Principal {
  kind: 'api_key' | 'service_token';
  /** The API key, or the one at the root of a service token. */
  keyId: string;
  tokenId: string | null;
  organizationId: string;
  /** Each has to permit what is done: the token's own, and those of the tokens it was minted from. None: all is permitted. */
  policies: readonly Policy[];
  /** The service tokens that it was minted from, the first one first. */
  ancestors: readonly string[];
  /** When it ends, in epoch milliseconds; undefined for an API key. */
  expiresAt: number | undefined;
  /** Same for all tokens of one key with the same policies: what a caller began goes on with a renewed token. */
  identity: string;
}

/** The token of an `Authorization: Bearer` header (RFC 6750 §2.1). Throws ApiError `unauthorized` without one. */
export function bearerToken(header: string | undefined): string {
  const match = header === undefined ? null : /^Bearer +([\x21-\x7e]+) *$/i.exec(header);
  if (!match) throw new ApiError('unauthorized');
  return match[1] as string;
}
