import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Organization, organizationsOf } from '../../identity/organizations.ts';
import {
  type BrowserSession,
  closeBrowserSession,
  openBrowserSession,
  switchOrganization,
} from '../../identity/sign-in/browser-sessions.ts';
import { beginPageEntry } from '../audit-request.ts';
import type { App, HttpDeps } from '../deps.ts';
import { html, nameChars, renderPage, shown, shownHost } from '../pages/page.ts';
import type { PageCookie } from '../pages/page-cookie.ts';
import { refuseForm } from '../pages/refuse-form.ts';
import { sendPage } from '../pages/send-page.ts';
import { formOf, takeForms } from '../pages/take-forms.ts';
import { organizationChoice } from './organization-choice.ts';
import { loginPath, nextOf, singleSignOnPath } from './paths.ts';
import { sessionOf } from './session-cookie.ts';

const config = { permission: 'public', checkOrigin: true } as const;
const schema = { hide: true };

/** `/login`: where a person signs in, and sees as whom; `/login/organization` and `/logout`. */
export function loginPageRoutes(app: App, deps: HttpDeps, cookie: PageCookie): void {
  const { authenticator, browsers } = deps;

  function showForm(request: FastifyRequest, reply: FastifyReply, next: string, problem?: string) {
    const csrf = browsers.csrf(browsers.ensure(request, reply));
    const sso = deps.sso && { host: deps.sso.host, href: singleSignOnPath(next) };
    return sendPage(reply, problem === undefined ? 200 : 401, renderLogin({ csrf, next, problem, sso }));
  }

  app.register(async (scope: App) => {
    takeForms(scope, deps);

    scope.get('/login', { config, schema }, async (request, reply) => {
      const next = nextOf((request.query as { next?: unknown }).next);
      const session = await sessionOf(deps, cookie, request);
      if (!session) return showForm(request, reply, next);
      const csrf = browsers.csrf(browsers.ensure(request, reply));
      const organizations = await choicesOf(deps, session);
      return sendPage(reply, 200, renderSignedIn({ session, organizations, csrf }));
    });

    scope.post('/login', { config, schema }, async (request, reply) => {
      const form = formOf(request);
      const next = nextOf(form.get('next'));
      if (!browsers.isOwnForm(browsers.read(request), form.get('csrf') ?? '')) {
        return refuseForm(reply, loginPath(next));
      }
      const principal = await authenticator.verify(form.get('apiKey')?.trim() ?? '');
      if (principal?.kind !== 'api_key') {
        return showForm(request, reply, next, 'This is no API key of this server, or it was revoked.');
      }
      beginPageEntry(deps, reply, principal, 'sign-in/open');
      // A new one each time: nobody can have planted it (session fixation).
      cookie.set(reply, (await openBrowserSession(deps, principal)).reveal());
      return reply.code(303).header('location', next).send();
    });

    scope.post('/login/organization', { config, schema }, async (request, reply) => {
      const form = formOf(request);
      if (!browsers.isOwnForm(browsers.read(request), form.get('csrf') ?? '')) {
        return refuseForm(reply, '/login');
      }
      const session = await sessionOf(deps, cookie, request);
      // Who is no member there (any more) sees in the page that it was not done.
      if (session) await switchOrganization(deps, session, form.get('organization') ?? '');
      return reply.code(303).header('location', '/login').send();
    });

    scope.post('/logout', { config, schema }, async (request, reply) => {
      if (!browsers.isOwnForm(browsers.read(request), formOf(request).get('csrf') ?? '')) {
        return refuseForm(reply, '/login');
      }
      const value = cookie.read(request);
      if (value !== undefined) await closeBrowserSession(deps, value);
      cookie.clear(reply);
      return reply.code(303).header('location', '/login').send();
    });
  });
}

/** The organizations that a session may act in. */
export async function choicesOf({ store }: HttpDeps, session: BrowserSession): Promise<Organization[]> {
  const { user, keyId, organization } = session;
  if (user && keyId === null) return organizationsOf(store, user.id);
  return organization ? [organization] : [];
}

interface Login {
  csrf: string;
  next: string;
  problem: string | undefined;
  sso: { host: string; href: string } | undefined;
}

function renderLogin({ csrf, next, problem, sso }: Login): string {
  const heading = 'Sign in to Patchbay';
  const main = html`
<h1>${heading}</h1>
${
  sso &&
  html`<p class="lead">With your account at ${shownHost(sso.host)}:</p>
<p><a class="button" id="continue" href="${sso.href}">Single sign-on</a></p>`
}
<p class="lead">${sso && 'Or with'}${sso ? undefined : 'With'} an API key: your own, or one of your organization. An admin can make one, or invite you.</p>
<form method="post" action="/login">
<input type="hidden" name="csrf" value="${csrf}">
<input type="hidden" name="next" value="${next}">
<div class="field">
<label for="api-key">API key</label>
<input id="api-key" name="apiKey" type="password" autocomplete="current-password" spellcheck="false" required${sso ? undefined : html` autofocus`}${problem === undefined ? undefined : html` aria-invalid="true" aria-describedby="problem"`}>
${problem === undefined ? undefined : html`<p class="problem" id="problem" role="alert">${problem}</p>`}
</div>
<button>Sign in</button>
</form>`;
  return renderPage(problem === undefined ? heading : `Error: ${heading}`, main);
}

interface SignedIn {
  session: BrowserSession;
  organizations: readonly Organization[];
  csrf: string;
}

function renderSignedIn({ session: { user, organization }, organizations, csrf }: SignedIn): string {
  const heading = 'You are signed in';
  const who = user ? html`As <strong dir="auto">${shown(user.name, nameChars)}</strong>` : undefined;
  const where = organization && html`<strong dir="auto">${shown(organization.name, nameChars)}</strong>`;
  const lead = !where
    ? html`${who}. You are member of no organization that is chosen here: choose one, or ask one of its admins for an invitation.`
    : who
      ? html`${who}, to the organization ${where} (${organization.role}).`
      : html`To the organization ${where}, with one of its API keys.`;
  const others = organizations.filter(({ id }) => id !== organization?.id);
  const main = html`
<h1>${heading}</h1>
<p class="lead">${lead}</p>
${
  others.length === 0
    ? undefined
    : html`<form method="post" action="/login/organization">
<input type="hidden" name="csrf" value="${csrf}">
${organizationChoice(organizations, organization?.id)}
<button>Switch</button>
</form>`
}
<form method="post" action="/logout">
<input type="hidden" name="csrf" value="${csrf}">
<button class="quiet">Sign out</button>
</form>`;
  return renderPage(heading, main);
}
