import type { App, HttpDeps } from '../deps.ts';
import { beginCliLoginRoute } from './begin-cli-login.ts';
import { chooseOrganizationRoute } from './choose-organization.ts';
import { confirmCliLoginRoutes } from './confirm-cli-login.ts';
import { invitationPageRoutes } from './invitation-page.ts';
import { loginPageRoutes } from './login-page.ts';
import { pollCliLoginRoute } from './poll-cli-login.ts';
import { sessionCookie } from './session-cookie.ts';
import { singleSignOnRoutes } from './single-sign-on.ts';

/**
 * Signing in with a browser, becoming a member, and the login of a command line that a browser confirms (api.md §11,
 * `auth login`).
 */
export function signInRoutes(app: App, deps: HttpDeps, publicUrl: () => URL): void {
  const cookie = sessionCookie(deps.limits, publicUrl);
  loginPageRoutes(app, deps, cookie);
  if (deps.sso) singleSignOnRoutes(app, deps, deps.sso, cookie, publicUrl);
  invitationPageRoutes(app, deps, cookie);
  confirmCliLoginRoutes(app, deps, cookie);
  beginCliLoginRoute(app, deps, publicUrl);
  pollCliLoginRoute(app, deps);
  chooseOrganizationRoute(app, deps);
}
