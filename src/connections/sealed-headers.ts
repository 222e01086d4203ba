import type { Keyring } from '../platform/keyring.ts';
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

/** Opens them again. */
export async function unsealHeaders(
  keyring: Keyring,
  namespace: string,
  uid: string,
  sealed: string | null,
): Promise<Record<string, string>> {
  if (sealed === null) return {};
  const plain = await keyring.unseal(namespace, sealedFor.connectionHeaders(uid), sealed);
  return JSON.parse(plain.toString('utf8'));
}
