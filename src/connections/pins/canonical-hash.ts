import { hash } from 'node:crypto';
import canonicalize from 'canonicalize';

/**
 * SHA-256 of the canonical JSON of a value (RFC 8785), in base64url: the same for the same value, whatever the order of its
 * members and its white space.
 */
export function canonicalHash(value: unknown): string {
  return hash('sha256', canonicalize(value) ?? '', 'base64url');
}
