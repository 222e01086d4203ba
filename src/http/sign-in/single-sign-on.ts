import type { FastifyReply } from 'fastify';
import { ensureProviderUser } from '../../identity/members/users.ts';
import { organizationsOf } from '../../identity/organizations.ts';
import { openBrowserSession } from '../../identity/sign-in/browser-sessions.ts';
import { type SingleSignOn, SingleSignOnFault } from '../../identity/sign-in/single-sign-on.ts';
import { beginPageEntry } from '../audit-request.ts';
import type { App, HttpDeps } from '../deps.ts';
import { type Notice, renderNotice } from '../pages/notice.ts';
import type { PageCookie } from '../pages/page-cookie.ts';
import { sendPage } from '../pages/send-page.ts';
import { loginPagePath, nextOf, singleSignOnCallbackPath, singleSignOnPagePath } from './paths.ts';

const config = { permission: 'public', checkOrigin: true } as const;
const schema = { hide: true };
/** `/login/sso`: to the provider and back, and a session for who came back. */
export function singleSignOnRoutes(
  app: App,
  deps: HttpDeps,
  sso: SingleSignOn,
  cookie: PageCookie,
  publicUrl: () => URL,
): void {
  const { browsers, store, clock, log } = deps;

  function tell(reply: FastifyReply, error: unknown) {
    if (!(error instanceof SingleSignOnFault)) throw error;
    if (error.kind === 'provider') log.error({ err: error.cause }, `single sign-on failed: ${error.message}`);
    const status = { stale: 403, refused: 403, provider: 502 }[error.kind];
    return sendPage(reply, status, renderNotice(noticeOf(error, sso.host)));
  }

  app.get(singleSignOnPagePath, { config, schema }, async (request, reply) => {
    const next = nextOf((request.query as { next?: unknown }).next);
    try {
      const target = await sso.begin(browsers.ensure(request, reply), next);
      return reply.code(303).header('location', target.href).send();
    } catch (error) {
      return tell(reply, error);
    }
  });

  app.get(singleSignOnCallbackPath, { config, schema }, async (request, reply) => {
    try {
      const callback = new URL(request.url, publicUrl());
      const { user, next } = await sso.finish(browsers.read(request), callback);
      const userId = await ensureProviderUser(store, clock, user);
      const [organization] = await organizationsOf(store, userId);
      const organizationId = organization?.id ?? null;
      if (organizationId !== null) {
        beginPageEntry(deps, reply, { organizationId, userId, keyId: null }, 'sign-in/open');
      }
      const session = await openBrowserSession(deps, { keyId: null, userId, organizationId });
      cookie.set(reply, session.reveal());
      return reply.code(303).header('location', next).send();
    } catch (error) {
      return tell(reply, error);
    }
  });
}

function noticeOf({ kind, message }: SingleSignOnFault, host: string): Notice {
  const again = { href: loginPagePath, label: 'Sign in again' };
  switch (kind) {
    case 'stale':
      return {
        kind: 'failure',
        title: 'You are not signed in',
        text: `This sign-in cannot be finished: ${message}.`,
        hint: 'Begin it once more, in this browser, with cookies allowed.',
        action: again,
      };
    case 'refused':
      return {
        kind: 'failure',
        title: 'You are not signed in',
        text: `${host} says: ${message}`,
        action: again,
      };
    case 'provider':
      return {
        kind: 'failure',
        title: 'Single sign-on does not work',
        text: `${host} was asked, but ${message}.`,
        hint: 'Try again in a moment. If it stays, whoever keeps this server finds more in its log.',
        action: again,
      };
  }
}
