import { hash } from 'node:crypto';
import type { JWTPayload } from 'jose';
import type { Limits } from '../../platform/limits.ts';
import type { Principal } from '../principal.ts';
import type { Policy, PolicyClaim } from './constraint.ts';
import { RequestMatch } from './request-match.ts';

/** Explicit typing: no other JWT signed with these keys passes for a service token (RFC 8725 §3.11). */
export const tokenType = 'service-token+jwt';
export const tokenIssuer = 'patchbay';

/** What a service token says. `sub` is the API key or session at its root, `jti` its id. */
export interface TokenClaims extends JWTPayload {
  sub: string;
  jti: string;
  /** Seconds since 1970. */
  exp: number;
  /** Ids of the tokens that it was minted from, the first one first. */
  ancestors: string[];
  /** As `Principal.policies`. */
  policies: PolicyClaim[];
}

/** The principal behind a token with these claims and this root. */
export function principalOf(
  claims: TokenClaims,
  { keyId, userId, organizationId }: Pick<Principal, 'keyId' | 'userId' | 'organizationId'>,
  limits: Limits,
): Principal {
  const { sub, jti, exp, ancestors } = claims;
  const policies = claims.policies.map((policy) => readClaim(policy, limits));
  return {
    kind: 'service_token',
    rootId: sub,
    keyId,
    userId,
    tokenId: jti,
    organizationId,
    role: 'member',
    policies,
    ancestors,
    expiresAt: exp * 1_000,
    identity: identityOf(sub, policies),
  };
}

/** The policies in the form that tokens carry. */
export function claimsOf(policies: readonly Policy[]): PolicyClaim[] {
  return JSON.parse(JSON.stringify(policies));
}

function readClaim(policy: PolicyClaim, { rpcMatchChars }: Limits): Policy {
  return policy.map(({ rpcReqMatch, ...rest }) => ({
    ...rest,
    ...(rpcReqMatch && { rpcReqMatch: new RequestMatch(rpcReqMatch, rpcMatchChars) }),
  }));
}

/** See `Principal.identity`. */
function identityOf(rootId: string, policies: readonly Policy[]): string {
  return policies.length === 0
    ? rootId
    : `${rootId}/${hash('sha256', JSON.stringify(policies), 'base64url')}`;
}
