import {
  type CryptoKey,
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  importJWK,
  type JWK,
} from 'jose';
import type { Clock } from '../../platform/clock.ts';
import type { Keyring } from '../../platform/keyring.ts';
import type { Limits } from '../../platform/limits.ts';
import { signingKeysStale } from '../../platform/store/invalidation.ts';
import type { Store } from '../../platform/store/store.ts';

/** Ed25519 (RFC 8037): the one algorithm that tokens are signed with, and the one that is accepted. */
export const signingAlgorithm = 'EdDSA';

/** The keys that service tokens are signed with, the same for all processes on one database. */
export interface SigningKeys {
  /** The key that signs now; made where there is none yet. Throws MasterKeyError once another process has rotated the keys. */
  signer(): Promise<SigningKey>;
  /** The public key of that id; undefined for one that is unknown, or retired for so long that no token of it is alive. */
  verifier(kid: string): Promise<CryptoKey | undefined>;
  /** The public keys, as a JWK Set has them (RFC 7517 §5). */
  published(): Promise<JWK[]>;
}

interface SigningKey {
  kid: string;
  key: CryptoKey;
}

/** What this process knows of the table. */
interface KnownKeys {
  publicJwks: JWK[];
  verifiers: Map<string, CryptoKey>;
  /** Wrapped, of the newest key that signs. */
  signing: { kid: string; wrapped: string } | undefined;
}

export interface SigningKeysDeps {
  store: Store;
  keyring: Keyring;
  clock: Clock;
  limits: Limits;
}

/** Builds them with an empty memory; the first token makes the first key. */
export function createSigningKeys({ store, keyring, clock, limits }: SigningKeysDeps): SigningKeys {
  let known: Promise<KnownKeys> | undefined;
  let signer: Promise<SigningKey> | undefined;
  store.onStale((key) => {
    if (key !== null && key !== signingKeysStale) return;
    known = undefined;
    signer = undefined;
  });

  /** As remembered, or read; what could not be read is not remembered. */
  function current(): Promise<KnownKeys> {
    if (known) return known;
    const loading = load();
    known = loading;
    loading.catch(() => {
      if (known === loading) known = undefined;
    });
    return loading;
  }

  async function load(): Promise<KnownKeys> {
    const rows = await store.db
      .selectFrom('signing_keys')
      .selectAll()
      .where(({ or, eb }) =>
        or([eb('retired_at', 'is', null), eb('retired_at', '>', clock.now() - limits.signingKeyKeepMs)]),
      )
      .orderBy('created_at', 'desc')
      .orderBy('kid')
      .execute();
    const publicJwks = rows.map(({ public_jwk }): JWK => JSON.parse(public_jwk));
    const verifiers = new Map<string, CryptoKey>();
    for (const jwk of publicJwks) {
      verifiers.set(jwk.kid as string, (await importJWK(jwk, signingAlgorithm)) as CryptoKey);
    }
    const newest = rows.find(({ wrapped }) => wrapped !== null);
    const signing = newest && { kid: newest.kid, wrapped: newest.wrapped as string };
    return { publicJwks, verifiers, signing };
  }

  async function openSigner(): Promise<SigningKey> {
    const { signing } = await current();
    if (!signing) return make();
    const jwk = JSON.parse(keyring.unwrap(rowOf(signing.kid), signing.wrapped).toString('utf8'));
    return { kid: signing.kid, key: (await importJWK(jwk, signingAlgorithm)) as CryptoKey };
  }

  /** Two processes may make one each: both are good. */
  async function make(): Promise<SigningKey> {
    const { publicKey, privateKey } = await generateKeyPair(signingAlgorithm, { extractable: true });
    const bare = await exportJWK(publicKey);
    const kid = await calculateJwkThumbprint(bare);
    const publicJwk = JSON.stringify({ ...bare, kid, alg: signingAlgorithm, use: 'sig' });
    const privateJwk = Buffer.from(JSON.stringify(await exportJWK(privateKey)));
    const now = clock.now();
    await store.write(async (transaction, stale) => {
      await transaction
        .deleteFrom('signing_keys')
        .where('retired_at', '<=', now - limits.signingKeyKeepMs)
        .execute();
      await transaction
        .insertInto('signing_keys')
        .values({
          kid,
          public_jwk: publicJwk,
          wrapped: await keyring.wrap(transaction, rowOf(kid), privateJwk),
          created_at: now,
          retired_at: null,
        })
        .execute();
      stale(signingKeysStale);
    });
    return { kid, key: privateKey };
  }

  return {
    signer() {
      if (signer) return signer;
      const opening = openSigner();
      signer = opening;
      opening.catch(() => {
        if (signer === opening) signer = undefined;
      });
      return opening;
    },
    async verifier(kid) {
      const found = (await current()).verifiers.get(kid);
      if (found) return found;
      // Another process may have made it just now.
      known = undefined;
      return (await current()).verifiers.get(kid);
    },
    async published() {
      return (await current()).publicJwks;
    },
  };
}

function rowOf(kid: string): string[] {
  return ['signing_keys', kid, 'wrapped'];
}
