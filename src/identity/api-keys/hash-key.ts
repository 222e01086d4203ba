import { hash } from 'node:crypto';

/**
 * Keys carry 238 random bits, so one round of SHA-256 protects them at rest: there is nothing to guess.
 * (A key fixed by PATCHBAY_API_KEY is as strong as its owner made it.)
 */
export function hashKey(key: string): string {
  return hash('sha256', key, 'base64url');
}
