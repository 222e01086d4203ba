import { createPrivateKey, type KeyObject } from 'node:crypto';
import { Secret } from '../../platform/secret.ts';

/** A private key that a client signs its assertions with (RFC 7523 §2.2). */
export interface SigningKey {
  /** As JSON, with its `kid` if one was given: the one form that holds every type of key. */
  jwk: Secret<string>;
  /** The JWS algorithms it can sign with (RFC 7518 §3.1, RFC 8037 §3.1), the usual one first. */
  algorithms: readonly [string, ...string[]];
}

/** The key cannot be used; `message` says why, and nothing of the key. */
export class UnusableKey extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UnusableKey';
  }
}

const rsaAlgorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const;
const curveAlgorithms: Record<string, string> = {
  prime256v1: 'ES256',
  secp384r1: 'ES384',
  secp521r1: 'ES512',
};
const minRsaBits = 2048;

/** Reads a private key from PEM (PKCS#8, unencrypted) or a JWK (RFC 7517). Throws UnusableKey. */
export function readSigningKey(given: string | Record<string, unknown>): SigningKey {
  const key = parse(given);
  const algorithms = algorithmsOf(key);
  const kid = typeof given === 'object' && typeof given.kid === 'string' ? { kid: given.kid } : {};
  // Written anew: `use`, `key_ops` and what else a JWK may say would be judged again by whoever signs.
  return { jwk: new Secret(JSON.stringify({ ...key.export({ format: 'jwk' }), ...kid })), algorithms };
}

function parse(given: string | Record<string, unknown>): KeyObject {
  try {
    return typeof given === 'string'
      ? createPrivateKey({ key: given, format: 'pem' })
      : createPrivateKey({ key: given, format: 'jwk' });
  } catch {
    // The error's own text is OpenSSL's, and of no help to anyone.
    throw new UnusableKey('must be a private key, unencrypted, in PEM (PKCS#8) or as a JWK');
  }
}

function algorithmsOf(key: KeyObject): SigningKey['algorithms'] {
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'rsa':
      // RFC 7518 §3.3
      if (modulusLength < minRsaBits)
        throw new UnusableKey(`must have at least ${minRsaBits} bits if it is RSA`);
      return rsaAlgorithms;
    case 'ec': {
      const algorithm = curveAlgorithms[namedCurve];
      if (algorithm) return [algorithm];
      break;
    }
    case 'ed25519':
      return ['EdDSA'];
  }
  throw new UnusableKey('must be RSA, or EC on P-256, P-384 or P-521, or Ed25519');
}
