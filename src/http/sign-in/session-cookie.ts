import type { FastifyRequest } from 'fastify';
import { type BrowserSession, findBrowserSession } from '../../identity/sign-in/browser-sessions.ts';
import type { Limits } from '../../platform/limits.ts';
import type { HttpDeps } from '../deps.ts';
import { type PageCookie, pageCookie } from '../pages/page-cookie.ts';

/** The cookie of a browser that is signed in. */
export function sessionCookie({ browserSessionMs }: Limits, publicUrl: () => URL): PageCookie {
  return pageCookie('patchbay-session', Math.floor(browserSessionMs / 1_000), publicUrl);
}

/** Who is signed in with the browser of a request to a page. */
export async function sessionOf(
  deps: HttpDeps,
  cookie: PageCookie,
  request: FastifyRequest,
): Promise<BrowserSession | undefined> {
  const value = cookie.read(request);
  return value === undefined ? undefined : findBrowserSession(deps, value);
}
