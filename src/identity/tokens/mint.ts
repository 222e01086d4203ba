import { SignJWT } from 'jose';
import type { Clock } from '../../platform/clock.ts';
import { ApiError } from '../../platform/errors.ts';
import { rowId } from '../../platform/ids.ts';
import type { Limits } from '../../platform/limits.ts';
import { Secret } from '../../platform/secret.ts';
import type { Principal } from '../principal.ts';
import { claimsOf, type TokenClaims, tokenIssuer, tokenType } from './claims.ts';
import type { ConstraintRequest, Policy } from './constraint.ts';
import { readPolicy } from './read-policy.ts';
import { type SigningKeys, signingAlgorithm } from './signing-keys.ts';

export interface MintedToken {
  id: string;
  token: Secret<string>;
  /** Epoch milliseconds. */
  expiresAt: number;
}

export interface MintDeps {
  signingKeys: SigningKeys;
  clock: Clock;
  limits: Limits;
}

/**
 * Mints a service token for `parent`: with `request` it may do what that policy permits of what the parent may do,
 * without one all of that. It never outlives its parent. Throws ApiError `validation_error`.
 */
export async function mintToken(
  { signingKeys, clock, limits }: MintDeps,
  parent: Principal,
  request: readonly ConstraintRequest[] | undefined,
): Promise<MintedToken> {
  const read = request && readPolicy(request, limits);
  const policies = narrow(parent.policies, read?.policy, limits);
  const ancestors = parent.tokenId === null ? [] : [...parent.ancestors, parent.tokenId];
  if (ancestors.length > limits.tokenGenerations) {
    throw new ApiError('validation_error', {
      message: `Authorization: a token that descends from ${limits.tokenGenerations} others cannot mint one.`,
    });
  }
  const now = Math.floor(clock.now() / 1_000);
  const ttl = (read?.ttlMs ?? limits.tokenDefaultMs) / 1_000;
  const exp = Math.min(now + ttl, Math.floor((parent.expiresAt ?? Number.POSITIVE_INFINITY) / 1_000));
  const claims: TokenClaims = {
    iss: tokenIssuer,
    sub: parent.rootId,
    jti: rowId('tok'),
    iat: now,
    exp,
    ancestors,
    policies: claimsOf(policies),
  };
  const { kid, key } = await signingKeys.signer();
  const token = await new SignJWT(claims)
    .setProtectedHeader({ alg: signingAlgorithm, kid, typ: tokenType })
    .sign(key);
  return { id: claims.jti, token: new Secret(token), expiresAt: exp * 1_000 };
}

/** The same policy once more changes nothing, so that a token renewed by itself stays the same principal. */
function narrow(policies: readonly Policy[], added: Policy | undefined, limits: Limits): Policy[] {
  const text = JSON.stringify(added);
  if (added === undefined || policies.some((policy) => JSON.stringify(policy) === text)) return [...policies];
  const all = [...policies, added];
  const bytes = Buffer.byteLength(JSON.stringify(all));
  if (bytes > limits.tokenPolicyBytes) {
    throw new ApiError('validation_error', {
      message: `policy: as JSON, with the policies of all tokens that this one descends from, it may have ${limits.tokenPolicyBytes} bytes; it has ${bytes}.`,
    });
  }
  const instructions = all.flat().reduce((sum, { rpcReqMatch }) => sum + (rpcReqMatch?.instructions ?? 0), 0);
  if (instructions > limits.tokenPatternInstructions) {
    throw new ApiError('validation_error', {
      message: `policy: the regular expressions of rpcReqMatch, with those of all tokens that this one descends from, compile to ${instructions} instructions; they may have ${limits.tokenPatternInstructions}.`,
    });
  }
  return all;
}
