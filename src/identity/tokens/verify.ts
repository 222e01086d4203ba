import { hash } from 'node:crypto';
import { errors, jwtVerify } from 'jose';
import { createBoundedCache } from '../../platform/bounded-cache.ts';
import type { Clock } from '../../platform/clock.ts';
import { ApiError } from '../../platform/errors.ts';
import type { Limits } from '../../platform/limits.ts';
import type { Store } from '../../platform/store/store.ts';
import { noteKeyUse } from '../api-keys/note-use.ts';
import type { Principal } from '../principal.ts';
import { findSessionById, isSessionId } from '../sign-in/browser-sessions.ts';
import { principalOf, type TokenClaims, tokenIssuer, tokenType } from './claims.ts';
import { revokedStale } from './revoke.ts';
import { type SigningKeys, signingAlgorithm } from './signing-keys.ts';

export interface TokenVerifier {
  /** The principal behind `token`, from memory alone. */
  recall(token: string): Principal | undefined;
  /**
   * The principal behind `token`; undefined if it is no service token of this installation. Synchronous when it is
   * remembered. Throws ApiError `invalid_token` for one that has expired or was revoked.
   */
  verify(token: string): Principal | undefined | Promise<Principal | undefined>;
}

export interface TokenVerifierDeps {
  store: Store;
  signingKeys: SigningKeys;
  clock: Clock;
  limits: Limits;
}

/** Verifies tokens, and remembers good ones by their hash until they, or what they descend from, end. */
export function createTokenVerifier({ store, signingKeys, clock, limits }: TokenVerifierDeps): TokenVerifier {
  const known = createBoundedCache<Principal>(limits.identityCacheEntries, {
    ttl: limits.identityCacheMs,
    ttlResolution: limits.cacheClockMs,
  });
  // What was asked of the store before a change must not be remembered after it.
  let changes = 0;
  const forget = (isStale: (principal: Principal) => boolean) => {
    changes++;
    for (const [digest, principal] of known.entries()) if (isStale(principal)) known.delete(digest);
  };
  store.onStale((key) => {
    if (key === null) forget(() => true);
    // A session ends with the key that it was opened with.
    else if (key.startsWith('root:')) {
      forget(({ rootId, keyId }) => key === `root:${rootId}` || key === `root:${keyId}`);
    } else if (key.startsWith('token:')) {
      forget(({ organizationId, tokenId, ancestors }) =>
        [tokenId as string, ...ancestors].some((id) => key === revokedStale(organizationId, id)),
      );
    }
  });

  async function load(digest: string, token: string): Promise<Principal | undefined> {
    const claims = await readClaims(token);
    if (!claims) return undefined;
    const seen = changes;
    const root = await findRoot(claims.sub);
    const principal = principalOf(claims, root, limits);
    const revoked = await store.db
      .selectFrom('revoked_tokens')
      .select('token_id')
      .where('organization_id', '=', root.organizationId)
      .where('token_id', 'in', [claims.jti, ...claims.ancestors])
      .limit(1)
      .executeTakeFirst();
    if (revoked) throw ended('it was revoked');
    if (seen === changes) known.set(digest, principal);
    return principal;
  }

  /** Whom the token acts for. Notes the use of an API key. */
  async function findRoot(rootId: string): Promise<Pick<Principal, 'keyId' | 'userId' | 'organizationId'>> {
    if (isSessionId(rootId)) {
      const session = await findSessionById({ store, clock }, rootId);
      if (!session) throw ended('the session that it descends from is over');
      return session;
    }
    const key = await store.db
      .selectFrom('api_keys')
      .select(['id', 'organization_id', 'last_used_at', 'user_id'])
      .where('id', '=', rootId)
      .executeTakeFirst();
    if (!key) throw ended('the API key that it descends from was revoked');
    await noteKeyUse(store, clock, limits, key);
    return { keyId: key.id, userId: key.user_id, organizationId: key.organization_id };
  }

  async function readClaims(token: string): Promise<TokenClaims | undefined> {
    try {
      const { payload } = await jwtVerify<TokenClaims>(token, findKey, {
        algorithms: [signingAlgorithm],
        issuer: tokenIssuer,
        typ: tokenType,
        requiredClaims: ['sub', 'jti', 'exp', 'ancestors', 'policies'],
        currentDate: new Date(clock.now()),
      });
      return payload;
    } catch (error) {
      // Only what was signed by one of our keys gets as far as its time.
      if (error instanceof errors.JWTExpired) throw ended('it has expired');
      if (error instanceof errors.JOSEError) return undefined;
      throw error;
    }
  }

  async function findKey({ kid }: { kid?: string | undefined }) {
    const key = kid === undefined ? undefined : await signingKeys.verifier(kid);
    if (!key) throw new errors.JWKSNoMatchingKey();
    return key;
  }

  function recall(digest: string): Principal | undefined {
    const principal = known.get(digest);
    return principal && (principal.expiresAt as number) > clock.now() ? principal : undefined;
  }

  const digestOf = (token: string) => hash('sha256', token, 'base64url');
  return {
    recall: (token) => recall(digestOf(token)),
    verify(token) {
      const digest = digestOf(token);
      return recall(digest) ?? load(digest, token);
    },
  };
}

function ended(why: string): ApiError {
  return new ApiError('invalid_token', {
    message: `Invalid API key or session token: ${why}.`,
  });
}
