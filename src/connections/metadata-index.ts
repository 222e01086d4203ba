import { hash } from 'node:crypto';
import type { Transaction } from 'kysely';
import { metadataText } from '../identity/permits.ts';
import type { Tables } from '../platform/store/schema.ts';

const digest = (text: string) => hash('sha256', text, 'base64url');

/** One equality condition on metadata, as hashes: values may be long, index entries may not. */
export interface MetadataCondition {
  keyHash: string;
  valueHash: string;
}

/** The condition that an entry fulfils. */
export function metadataCondition(key: string, value: unknown): MetadataCondition {
  return {
    keyHash: digest(key),
    valueHash: digest(metadataText(value)),
  };
}

/** Writes the filter entries of one connection anew. */
export async function indexMetadata(
  transaction: Transaction<Tables>,
  uid: string,
  namespace: string,
  metadata: Record<string, unknown> | null,
): Promise<void> {
  await transaction.deleteFrom('connection_metadata').where('connection_uid', '=', uid).execute();
  const rows = Object.entries(metadata ?? {})
    .map(([key, value]) => metadataCondition(key, value))
    .map(({ keyHash, valueHash }) => ({
      connection_uid: uid,
      namespace,
      key_hash: keyHash,
      value_hash: valueHash,
    }));
  if (rows.length > 0) await transaction.insertInto('connection_metadata').values(rows).execute();
}
