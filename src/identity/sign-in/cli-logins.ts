import { createHmac, hash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { isSameSecret } from '../../platform/is-same-secret.ts';
import type { Keyring } from '../../platform/keyring.ts';
import { isDuplicate, isMissingReference } from '../../platform/store/store.ts';
import { type CreatedApiKey, insertApiKey, type KeyOwner } from '../api-keys/create.ts';
import { roleOf } from '../members/role.ts';
import type { SignInDeps } from './browser-sessions.ts';

const requestSchema = z.object({
  /** Hash of the command line's secret. */
  login: z.string(),
  /** Epoch milliseconds. */
  askedAt: z.int(),
  expiresAt: z.int(),
  /** The organization that the command line wants a key of. */
  organizationId: z.string().optional(),
  /** What the command line calls itself; untrusted. */
  client: z.string(),
});

/** What a command line asks of the person, as the address of the page carries it. */
export type CliLoginRequest = z.infer<typeof requestSchema>;

/** How a login stands, for the command line that waits. */
type CliLoginState =
  | { kind: 'unknown' | 'expired' | 'pending' | 'declined' }
  | {
      kind: 'allowed';
      created: CreatedApiKey;
      organization: { id: string; name: string; namespace: string | null };
    };

/**
 * Logins of a command line: it shows an address, the person decides there in a browser, and the command line, which alone
 * knows the login's secret, gets an API key of its own (after RFC 8628). Nothing is stored before somebody who is signed
 * in has decided, so that nobody can fill the store.
 */
export interface CliLogins {
  /** `sessionId` is the secret to ask with; `request` is for the address of the page. */
  begin(asked: { organizationId: string | undefined; client: string }): {
    sessionId: string;
    request: string;
  };
  /** What the address of the page asks for; undefined if it is none of ours. */
  read(request: string): CliLoginRequest | 'expired' | undefined;
  /**
   * Notes what the person decided: `owner` is whose key it is to be, `keyId` the key that the person is signed in with. False
   * if it was decided before, or that key was revoked.
   */
  decide(
    request: CliLoginRequest,
    owner: KeyOwner & { keyId: string | null },
    isAllowed: boolean,
  ): Promise<boolean>;
  /** How a login stands. `allowed` comes once, with the key, which is made then and shown nowhere else. */
  take(sessionId: string): Promise<CliLoginState>;
  /** The organization that the person chose; undefined before, and for what is no login. */
  organizationOf(sessionId: string): Promise<string | undefined>;
}

/** Builds them on a key of their own, derived from the master key. */
export function createCliLogins({ store, clock, limits }: SignInDeps, keyring: Keyring): CliLogins {
  const key = keyring.derive('cli logins');
  const sign = (kind: 'session' | 'request', text: string) =>
    createHmac('sha256', key.reveal()).update(`${kind}.${text}`).digest('base64url');

  /** Checks what `sign` made; undefined if it did not. */
  function verified(kind: 'session' | 'request', signed: string): string | undefined {
    const dot = signed.lastIndexOf('.');
    const text = signed.slice(0, Math.max(dot, 0));
    return isSameSecret(sign(kind, text), signed.slice(dot + 1)) ? text : undefined;
  }

  /** The hash of a login's secret. */
  function loginOf(sessionId: string): string | 'expired' | undefined {
    const text = verified('session', sessionId);
    if (text === undefined) return undefined;
    const [secret = '', expiry = ''] = text.split('.');
    return Number.parseInt(expiry, 36) > clock.now() ? hash('sha256', secret, 'base64url') : 'expired';
  }

  function find(login: string) {
    return store.db
      .selectFrom('cli_logins')
      .innerJoin('organizations', 'organizations.id', 'cli_logins.organization_id')
      .leftJoin('members', (join) =>
        join
          .onRef('members.organization_id', '=', 'cli_logins.organization_id')
          .onRef('members.user_id', '=', 'cli_logins.user_id'),
      )
      .select(['state', 'organizations.id', 'organizations.name', 'cli_logins.user_id', 'role'])
      .where('cli_logins.hash', '=', login)
      .executeTakeFirst();
  }

  return {
    begin({ organizationId, client }) {
      const secret = randomBytes(32).toString('base64url');
      const askedAt = clock.now();
      const expiresAt = askedAt + limits.cliLoginMs;
      const session = `${secret}.${expiresAt.toString(36)}`;
      const asked: CliLoginRequest = {
        login: hash('sha256', secret, 'base64url'),
        askedAt,
        expiresAt,
        ...(organizationId !== undefined && { organizationId }),
        client,
      };
      const request = Buffer.from(JSON.stringify(asked)).toString('base64url');
      return {
        sessionId: `${session}.${sign('session', session)}`,
        request: `${request}.${sign('request', request)}`,
      };
    },

    read(request) {
      const text = verified('request', request);
      if (text === undefined) return undefined;
      const asked = requestSchema.parse(JSON.parse(Buffer.from(text, 'base64url').toString('utf8')));
      return asked.expiresAt > clock.now() ? asked : 'expired';
    },

    async decide({ login, expiresAt }, { organizationId, userId, keyId }, isAllowed) {
      try {
        await store.write(async (transaction) => {
          await transaction.deleteFrom('cli_logins').where('expires_at', '<=', clock.now()).execute();
          const state = isAllowed ? 'allowed' : 'declined';
          await transaction
            .insertInto('cli_logins')
            .values({
              hash: login,
              key_id: keyId,
              user_id: userId,
              organization_id: organizationId,
              state,
              expires_at: expiresAt,
            })
            .execute();
        });
        return true;
      } catch (error) {
        // Or its key was revoked meanwhile.
        if (!isDuplicate(error) && !isMissingReference(error)) throw error;
        return false;
      }
    },

    async take(sessionId) {
      const login = loginOf(sessionId);
      if (login === undefined) return { kind: 'unknown' };
      if (login === 'expired') return { kind: 'expired' };
      const found = await find(login);
      if (!found) return { kind: 'pending' };
      // Who is no member any more has no say.
      if (found.state === 'declined' || !roleOf(found)) return { kind: 'declined' };
      const namespace = await store.db
        .selectFrom('namespaces')
        .select('name')
        .where('organization_id', '=', found.id)
        .orderBy('created_at')
        .orderBy('name')
        .limit(1)
        .executeTakeFirst();
      const created = await store.write(async (transaction, stale) => {
        const taken = await transaction
          .updateTable('cli_logins')
          .set({ state: 'taken' })
          .where('hash', '=', login)
          .where('state', '=', 'allowed')
          .returning('hash')
          .executeTakeFirst();
        const name = `command line, ${new Date(clock.now()).toISOString().slice(0, 10)}`;
        const owner = { organizationId: found.id, userId: found.user_id };
        return taken && insertApiKey(transaction, stale, clock, owner, name);
      });
      if (!created) return { kind: 'expired' };
      const { id, name } = found;
      return { kind: 'allowed', created, organization: { id, name, namespace: namespace?.name ?? null } };
    },

    async organizationOf(sessionId) {
      const login = loginOf(sessionId);
      return login === undefined || login === 'expired' ? undefined : (await find(login))?.id;
    },
  };
}
