import { type MasterKey, requireVersion } from './master-key.ts';
import { Secret } from './secret.ts';
import { type Key, keyVersionOf, newKeyBytes, seal, unseal } from './vault.ts';

/** A fresh data key for the row `data_keys(namespace, version)`, wrapped with the master key. */
export function makeDataKey(master: MasterKey, namespace: string, version: number): string {
  return wrapDataKey(master, namespace, version, new Secret(newKeyBytes()));
}

/** Wraps a data key for its row; the text names the version of the master key. */
export function wrapDataKey(master: MasterKey, namespace: string, version: number, key: Key): string {
  return seal(master.key, master.version, identity(namespace, version), key.reveal());
}

/**
 * Opens it again. Throws MasterKeyError if it was wrapped with another version of the master key, and
 * UnsealError if it was wrapped for another row.
 */
export function unwrapDataKey(master: MasterKey, namespace: string, version: number, wrapped: string): Key {
  requireVersion(master, keyVersionOf(wrapped));
  return new Secret(unseal(master.key, identity(namespace, version), wrapped));
}

function identity(namespace: string, version: number): string[] {
  return ['data_keys', namespace, String(version)];
}
