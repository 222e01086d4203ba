import { createHmac, randomBytes } from 'node:crypto';
import type * as OpenIdClient from 'openid-client';
import type { Clock } from '../../platform/clock.ts';
import { isSameSecret } from '../../platform/is-same-secret.ts';
import type { Keyring } from '../../platform/keyring.ts';
import type { Limits } from '../../platform/limits.ts';
import type { Secret } from '../../platform/secret.ts';
import type { ProviderUser } from '../members/users.ts';

/** The provider that the operator has set (PATCHBAY_OIDC_…). */
export interface SingleSignOnSettings {
  issuer: URL;
  clientId: string;
  clientSecret: Secret<string> | undefined;
}

/** Why nobody was signed in. `stale`: not begun in this browser, or too long ago; `refused`: the provider says so. */
export class SingleSignOnFault extends Error {
  readonly kind: 'stale' | 'refused' | 'provider';

  constructor(kind: SingleSignOnFault['kind'], message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'SingleSignOnFault';
    this.kind = kind;
  }
}

/**
 * Sign-in at an OpenID provider: authorization code with PKCE, `state` and `nonce` (OpenID Connect Core 1.0 §3.1). What
 * has to be remembered in between is derived from `state` and the secret of the browser, so that any process can finish
 * what another one began, and nothing is stored for somebody who never comes back.
 */
export interface SingleSignOn {
  /** What the person knows the provider by. */
  readonly host: string;
  /** Where to send the browser with this secret, which goes on to `next` afterwards. Throws SingleSignOnFault. */
  begin(browser: string, next: string): Promise<URL>;
  /** Who came back, and where to go on. Throws SingleSignOnFault. */
  finish(browser: string | undefined, callback: URL): Promise<{ user: ProviderUser; next: string }>;
}

export interface SingleSignOnDeps {
  clock: Clock;
  limits: Limits;
  keyring: Keyring;
  /** Where the provider sends the browser back to. */
  redirectUri: () => string;
}

/** Builds it; the provider is asked when somebody comes for the first time. */
export function createSingleSignOn(
  { clock, limits, keyring, redirectUri }: SingleSignOnDeps,
  { issuer, clientId, clientSecret }: SingleSignOnSettings,
): SingleSignOn {
  const key = keyring.derive('single sign-on');
  let discovered: Promise<Provider> | undefined;

  function provider(): Promise<Provider> {
    discovered ??= discover().catch((error) => {
      discovered = undefined;
      throw error;
    });
    return discovered;
  }

  async function discover(): Promise<Provider> {
    // Loaded by whom it is set up for alone: it would cost every start.
    const oidc = await import('openid-client');
    try {
      const configuration = await oidc.discovery(issuer, clientId, clientSecret?.reveal(), undefined, {
        timeout: limits.singleSignOnMs / 1_000,
        // The settings take plain http on loopback alone.
        ...(issuer.protocol === 'http:' && { execute: [oidc.allowInsecureRequests] }),
      });
      return { oidc, configuration };
    } catch (error) {
      throw new SingleSignOnFault('provider', 'it did not tell how to sign in there', error);
    }
  }

  const derive = (purpose: string, browser: string, text: string) =>
    createHmac('sha256', key.reveal()).update(`${purpose}.${browser}.${text}`).digest('base64url');

  /** Where the browser was to go on, if it began with this `state`, and not too long ago. */
  function read(browser: string | undefined, state: string): string {
    const dot = state.lastIndexOf('.');
    const text = state.slice(0, Math.max(dot, 0));
    if (browser === undefined || !isSameSecret(derive('state', browser, text), state.slice(dot + 1))) {
      throw new SingleSignOnFault('stale', 'it was not begun in this browser');
    }
    const [, expiry = '', next = ''] = text.split('.');
    if (Number.parseInt(expiry, 36) <= clock.now()) {
      throw new SingleSignOnFault('stale', 'it was begun too long ago');
    }
    return Buffer.from(next, 'base64url').toString('utf8');
  }

  return {
    host: issuer.host,

    async begin(browser, next) {
      const { oidc, configuration } = await provider();
      const random = randomBytes(16).toString('base64url');
      const expiry = (clock.now() + limits.singleSignOnLoginMs).toString(36);
      const text = `${random}.${expiry}.${Buffer.from(next).toString('base64url')}`;
      return oidc.buildAuthorizationUrl(configuration, {
        redirect_uri: redirectUri(),
        scope: 'openid profile email',
        state: `${text}.${derive('state', browser, text)}`,
        nonce: derive('nonce', browser, text),
        code_challenge: await oidc.calculatePKCECodeChallenge(derive('verifier', browser, text)),
        code_challenge_method: 'S256',
      });
    },

    async finish(browser, callback) {
      const state = callback.searchParams.get('state') ?? '';
      const next = read(browser, state);
      const { oidc, configuration } = await provider();
      const text = state.slice(0, state.lastIndexOf('.'));
      try {
        const tokens = await oidc.authorizationCodeGrant(configuration, callback, {
          expectedState: state,
          expectedNonce: derive('nonce', browser as string, text),
          pkceCodeVerifier: derive('verifier', browser as string, text),
          idTokenExpected: true,
        });
        const claims = tokens.claims() as OpenIdClient.IDToken;
        // Providers put names and addresses there or into the ID token (OpenID Connect Core 1.0 §5.4).
        const more = configuration.serverMetadata().userinfo_endpoint
          ? await oidc.fetchUserInfo(configuration, tokens.access_token, claims.sub)
          : {};
        return { user: userOf({ ...claims, ...more }), next };
      } catch (error) {
        if (error instanceof oidc.AuthorizationResponseError) {
          throw new SingleSignOnFault('refused', error.error_description ?? error.error, error);
        }
        throw new SingleSignOnFault('provider', 'its answer could not be used', error);
      }
    },
  };
}

interface Provider {
  oidc: typeof OpenIdClient;
  configuration: OpenIdClient.Configuration;
}

function userOf(claims: Partial<OpenIdClient.IDToken>): ProviderUser {
  const { iss, sub, name, preferred_username, email } = claims;
  const said = [name, preferred_username, email].find((text) => typeof text === 'string' && text !== '');
  return {
    issuer: iss as string,
    subject: sub as string,
    name: line((said as string | undefined) ?? (sub as string)),
    email: typeof email === 'string' ? line(email) : null,
  };
}

/** One line of what a provider says, which both databases can keep. */
function line(text: string): string {
  return text
    .toWellFormed()
    .replace(/\p{Cc}+/gu, ' ')
    .slice(0, 256)
    .toWellFormed();
}
