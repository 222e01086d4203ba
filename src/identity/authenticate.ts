import type { KeyVerifier } from './api-keys/verify.ts';
import type { Principal } from './principal.ts';
import type { TokenVerifier } from './tokens/verify.ts';

export interface Authenticator {
  /** The principal behind a bearer token, from memory alone: undefined also for a good one that is not remembered. */
  recall(token: string): Principal | undefined;
  /**
   * The principal behind a bearer token, of whatever kind; undefined if it is none of ours. Synchronous when it is
   * remembered. Throws ApiError `invalid_token` for a service token that was good once.
   */
  verify(token: string): Principal | undefined | Promise<Principal | undefined>;
}

/** Tells service tokens from API keys by their form: a JWS in compact serialization (RFC 7515 §7.1). */
export function createAuthenticator(keys: KeyVerifier, tokens: TokenVerifier): Authenticator {
  const isToken = (token: string) => /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/.test(token);
  return {
    recall: (token) => (isToken(token) ? tokens.recall(token) : keys.recall(token)),
    verify(token) {
      if (!isToken(token)) return keys.verify(token);
      const verified = tokens.verify(token);
      if (!(verified instanceof Promise)) return verified;
      // A key that the operator has chosen may have that form, too.
      return verified.then((principal) => principal ?? keys.verify(token));
    },
  };
}
