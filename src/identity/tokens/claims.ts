import { hash } from 'node:crypto';
import type { JWTPayload } from 'jose';
import type { Principal } from '../principal.ts';
import type { Policy } from './constraint.ts';

/** Explicit typing: no other JWT signed with these keys passes for a service token (RFC 8725 §3.11). */
export const tokenType = 'service-token+jwt';
export const tokenIssuer = 'patchbay';

/** What a service token says. `sub` is the API key at its root, `jti` its id. */
export interface TokenClaims extends JWTPayload {
  sub: string;
  jti: string;
  /** Seconds since 1970. */
  exp: number;
  /** Ids of the tokens that it was minted from, the first one first. */
  ancestors: string[];
  /** As `Principal.policies`. */
  policies: Policy[];
}

/** The principal behind a token with these claims, for whose API key `organizationId` is known. */
export function principalOf(claims: TokenClaims, organizationId: string): Principal {
  const { sub, jti, exp, ancestors, policies } = claims;
  return {
    kind: 'service_token',
    keyId: sub,
    tokenId: jti,
    organizationId,
    policies,
    ancestors,
    expiresAt: exp * 1_000,
    identity: identityOf(sub, policies),
  };
}

/** See `Principal.identity`. */
function identityOf(keyId: string, policies: readonly Policy[]): string {
  return policies.length === 0 ? keyId : `${keyId}/${hash('sha256', JSON.stringify(policies), 'base64url')}`;
}
