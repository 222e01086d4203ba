import { ownPath } from '../pages/page.ts';

/** Where a person signs in. */
export const loginPagePath = '/login';
/** Where an invitation is taken. */
export const invitationPagePath = '/login/invitation';
/** Where sign-in at the provider begins. */
export const singleSignOnPagePath = '/login/sso';
/** Where the provider sends the browser back to; the operator registers it there. */
export const singleSignOnCallbackPath = '/login/sso/callback';

/** The page that asks who comes, and then goes on to `next`, a path of ours. */
export function loginPath(next: string): string {
  return `${loginPagePath}?${new URLSearchParams({ next })}`;
}

/** The page of the invitation with this secret. */
export function invitationPath(secret: string): string {
  return `${invitationPagePath}?${new URLSearchParams({ invitation: secret })}`;
}

/** To the provider, and then on to `next`. */
export function singleSignOnPath(next: string): string {
  return `${singleSignOnPagePath}?${new URLSearchParams({ next })}`;
}

/** Only to pages that stand on the sign-in: no link may lead elsewhere through ours. */
export function nextOf(given: unknown): string {
  const path = typeof given === 'string' ? ownPath(given) : undefined;
  return path?.startsWith(loginPagePath) ? path : loginPagePath;
}
