import type { Keyring } from '../platform/keyring.ts';
import { Secret } from '../platform/secret.ts';
import { sealedFor } from '../platform/store/sealed-columns.ts';

/** Seals the custom headers of connection `uid`; null for none. */
export async function sealHeaders(
  keyring: Keyring,
  namespace: string,
  uid: string,
  headers: Record<string, string>,
): Promise<string | null> {
  if (Object.keys(headers).length === 0) return null;
  return keyring.seal(
    namespace,
    sealedFor.connectionHeaders(uid),
    Buffer.from(JSON.stringify(headers), 'utf8'),
  );
}

/** Opens them as the flat list of names and values that a request takes. */
export async function unsealHeaders(
  keyring: Keyring,
  namespace: string,
  uid: string,
  sealed: string | null,
): Promise<Secret<readonly string[]>> {
  if (sealed === null) return new Secret([]);
  const plain = await keyring.unseal(namespace, sealedFor.connectionHeaders(uid), sealed);
  return flatHeaders(JSON.parse(plain.toString('utf8')));
}

/** `{ name: value }` as `[name, value, name, value, …]`, the form that undici takes, kept out of logs by Secret. */
export function flatHeaders(headers: Record<string, string>): Secret<readonly string[]> {
  return new Secret(Object.entries(headers).flat());
}
