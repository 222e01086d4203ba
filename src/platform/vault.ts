import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { Secret } from './secret.ts';

/**
 * Envelope encryption (design §5). The master key wraps one data key per namespace; data keys seal values.
 *
 * A sealed value is base64url of: version byte, key version (4 bytes), nonce (12), ciphertext, tag (16).
 * The additional data names the row, so that a ciphertext moved to another row does not open
 * (NIST SP 800-38D: a nonce is random and never used twice under one key).
 */
const formatVersion = 1;
const nonceBytes = 12;
const tagBytes = 16;
const headBytes = 5;

export type Key = Secret<Buffer>;

/** The value was sealed with another key, for another row, or was damaged. */
export class UnsealError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UnsealError';
  }
}

/** A fresh 256-bit key. */
export function newKeyBytes(): Buffer {
  return randomBytes(32);
}

/**
 * Seals `plain` under `key`. `identity` is the row's identity (table, row id, column, namespace) and must be
 * given again to open; `keyVersion` says which data key was used and is readable without opening.
 */
export function seal(key: Key, keyVersion: number, identity: readonly string[], plain: Buffer): string {
  const head = Buffer.alloc(headBytes);
  head.writeUInt8(formatVersion, 0);
  head.writeUInt32BE(keyVersion, 1);
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', key.reveal(), nonce, { authTagLength: tagBytes });
  cipher.setAAD(additionalData(head, identity));
  return Buffer.concat([head, nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]).toString(
    'base64url',
  );
}

/** The data-key version a sealed value names. Throws UnsealError on anything `seal` did not write. */
export function keyVersionOf(sealed: string): number {
  return parse(sealed).head.readUInt32BE(1);
}

/** Opens what `seal` made. Throws UnsealError when key or identity differ or a byte changed. */
export function unseal(key: Key, identity: readonly string[], sealed: string): Buffer {
  const { head, nonce, body, tag } = parse(sealed);
  const decipher = createDecipheriv('aes-256-gcm', key.reveal(), nonce, { authTagLength: tagBytes });
  decipher.setAAD(additionalData(head, identity));
  decipher.setAuthTag(tag);
  try {
    return Buffer.concat([decipher.update(body), decipher.final()]);
  } catch {
    throw new UnsealError('The value does not open with this key for this row.');
  }
}

function parse(sealed: string): { head: Buffer; nonce: Buffer; body: Buffer; tag: Buffer } {
  const bytes = Buffer.from(sealed, 'base64url');
  if (bytes.length < headBytes + nonceBytes + tagBytes) throw new UnsealError('The value is too short.');
  if (bytes.readUInt8(0) !== formatVersion) {
    throw new UnsealError(`The value has format ${bytes.readUInt8(0)}; this version reads ${formatVersion}.`);
  }
  return {
    head: bytes.subarray(0, headBytes),
    nonce: bytes.subarray(headBytes, headBytes + nonceBytes),
    body: bytes.subarray(headBytes + nonceBytes, bytes.length - tagBytes),
    tag: bytes.subarray(bytes.length - tagBytes),
  };
}

/** Length-prefixed parts, so that no two identities share one encoding. */
function additionalData(head: Buffer, identity: readonly string[]): Buffer {
  const parts: Buffer[] = [head];
  for (const part of identity) {
    const bytes = Buffer.from(part, 'utf8');
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    parts.push(length, bytes);
  }
  return Buffer.concat(parts);
}
