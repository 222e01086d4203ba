import type { FastifyReply, FastifyRequest } from 'fastify';
import { closeBrowserSession, openBrowserSession } from '../../identity/sign-in/browser-sessions.ts';
import { beginPageEntry } from '../audit-request.ts';
import type { App, HttpDeps } from '../deps.ts';
import { html, ownPath, renderPage } from '../pages/page.ts';
import type { PageCookie } from '../pages/page-cookie.ts';
import { refuseForm } from '../pages/refuse-form.ts';
import { sendPage } from '../pages/send-page.ts';
import { formOf, takeForms } from '../pages/take-forms.ts';
import { sessionOf } from './session-cookie.ts';

const config = { permission: 'public', checkOrigin: true } as const;
const schema = { hide: true };

/** `/login`: where a person signs in with an API key, and `/logout`. */
export function loginPageRoutes(app: App, deps: HttpDeps, cookie: PageCookie): void {
  const { authenticator, browsers } = deps;

  function showForm(request: FastifyRequest, reply: FastifyReply, next: string, problem?: string) {
    const csrf = browsers.csrf(browsers.ensure(request, reply));
    return sendPage(reply, problem === undefined ? 200 : 401, renderLogin({ csrf, next, problem }));
  }

  app.register(async (scope: App) => {
    takeForms(scope, deps);

    scope.get('/login', { config, schema }, async (request, reply) => {
      const next = nextOf((request.query as { next?: unknown }).next);
      const session = await sessionOf(deps, cookie, request);
      if (!session) return showForm(request, reply, next);
      const csrf = browsers.csrf(browsers.ensure(request, reply));
      return sendPage(reply, 200, renderSignedIn(session.organization.name, csrf));
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
      cookie.set(reply, (await openBrowserSession(deps, principal.keyId)).reveal());
      return reply.code(303).header('location', next).send();
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

/** The page that asks who comes, and then goes on to `next`, a path of ours. */
export function loginPath(next: string): string {
  return `/login?${new URLSearchParams({ next })}`;
}

/** Only to pages that stand on the sign-in: no link may lead elsewhere through ours. */
function nextOf(given: unknown): string {
  const path = typeof given === 'string' ? ownPath(given) : undefined;
  return path?.startsWith('/login') ? path : '/login';
}

function renderLogin({ csrf, next, problem }: { csrf: string; next: string; problem: string | undefined }) {
  const heading = 'Sign in to Patchbay';
  const main = html`
<h1>${heading}</h1>
<p class="lead">With an API key of your organization. Whoever keeps this server has one, or can make one for you.</p>
<form method="post" action="/login">
<input type="hidden" name="csrf" value="${csrf}">
<input type="hidden" name="next" value="${next}">
<div class="field">
<label for="api-key">API key</label>
<input id="api-key" name="apiKey" type="password" autocomplete="current-password" spellcheck="false" required autofocus${problem === undefined ? undefined : html` aria-invalid="true" aria-describedby="problem"`}>
${problem === undefined ? undefined : html`<p class="problem" id="problem" role="alert">${problem}</p>`}
</div>
<button>Sign in</button>
</form>`;
  return renderPage(problem === undefined ? heading : `Error: ${heading}`, main);
}

function renderSignedIn(organization: string, csrf: string): string {
  const heading = 'You are signed in';
  const main = html`
<h1>${heading}</h1>
<p class="lead">To the organization <strong dir="auto">${organization}</strong>, with one of its API keys.</p>
<form method="post" action="/logout">
<input type="hidden" name="csrf" value="${csrf}">
<button>Sign out</button>
</form>`;
  return renderPage(heading, main);
}
