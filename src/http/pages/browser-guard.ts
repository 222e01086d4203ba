import { createHmac, randomBytes } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { isSameSecret } from '../../platform/is-same-secret.ts';
import type { Keyring } from '../../platform/keyring.ts';
import { pageCookie } from './page-cookie.ts';

/**
 * Tells browsers apart on our pages. A cookie holds a secret of the browser, which stands for no user and no
 * right; forms carry a value derived from it, so that no other site can send one (CSRF), and a login comes back only
 * to the browser that began it (MCP 2026-07-28, security best practices).
 */
export interface BrowserGuard {
  /** The secret of the browser, set in its cookie if it has none yet. */
  ensure(request: FastifyRequest, reply: FastifyReply): string;
  /** The secret, if the browser has one. */
  read(request: FastifyRequest): string | undefined;
  /** The value that a form of this browser carries. */
  csrf(browser: string): string;
  /** Whether a form came from a page that this browser was given. */
  isOwnForm(browser: string | undefined, csrf: string): boolean;
}

const lifeSeconds = 24 * 60 * 60;

/** Builds it on a key of its own, derived from the master key. `publicUrl` says whether cookies can be secure. */
export function createBrowserGuard(keyring: Keyring, publicUrl: () => URL): BrowserGuard {
  const key = keyring.derive('setup csrf');
  const cookie = pageCookie('patchbay-setup', lifeSeconds, publicUrl);

  function csrf(browser: string): string {
    return createHmac('sha256', key.reveal()).update(browser).digest('base64url');
  }

  return {
    read: cookie.read,
    csrf,
    ensure(request, reply) {
      const known = cookie.read(request);
      if (known) return known;
      const made = randomBytes(32).toString('base64url');
      cookie.set(reply, made);
      return made;
    },
    isOwnForm(browser, given) {
      return browser !== undefined && isSameSecret(csrf(browser), given);
    },
  };
}
