import { hash, randomBytes } from 'node:crypto';
import type { Clock } from '../../platform/clock.ts';
import type { Limits } from '../../platform/limits.ts';
import { Secret } from '../../platform/secret.ts';
import type { Store } from '../../platform/store/store.ts';

/** Who is signed in with a browser: who holds an API key acts for its organization. */
export interface BrowserSession {
  keyId: string;
  organization: { id: string; name: string };
}

export interface SignInDeps {
  store: Store;
  clock: Clock;
  limits: Limits;
}

/** Signs a browser in by the API key `keyId`, which its caller has verified. Returns what its cookie holds. */
export async function openBrowserSession(
  { store, clock, limits }: SignInDeps,
  keyId: string,
): Promise<Secret<string>> {
  const value = randomBytes(32).toString('base64url');
  const now = clock.now();
  await store.write(async (transaction) => {
    await transaction.deleteFrom('browser_sessions').where('expires_at', '<=', now).execute();
    await transaction
      .insertInto('browser_sessions')
      .values({ hash: hashOf(value), key_id: keyId, expires_at: now + limits.browserSessionMs })
      .execute();
  });
  return new Secret(value);
}

/** The session of a cookie; undefined once it has ended, was signed out, or its key was revoked. */
export async function findBrowserSession(
  { store, clock }: SignInDeps,
  value: string,
): Promise<BrowserSession | undefined> {
  const row = await store.db
    .selectFrom('browser_sessions')
    .innerJoin('api_keys', 'api_keys.id', 'browser_sessions.key_id')
    .innerJoin('organizations', 'organizations.id', 'api_keys.organization_id')
    .select(['key_id', 'organizations.id', 'organizations.name'])
    .where('browser_sessions.hash', '=', hashOf(value))
    .where('expires_at', '>', clock.now())
    .executeTakeFirst();
  return row && { keyId: row.key_id, organization: { id: row.id, name: row.name } };
}

/** Signs a browser out. */
export async function closeBrowserSession({ store }: SignInDeps, value: string): Promise<void> {
  await store.write((transaction) =>
    transaction.deleteFrom('browser_sessions').where('hash', '=', hashOf(value)).execute(),
  );
}

function hashOf(value: string): string {
  return hash('sha256', value, 'base64url');
}
