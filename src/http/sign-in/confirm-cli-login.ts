import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Organization } from '../../identity/organizations.ts';
import type { BrowserSession } from '../../identity/sign-in/browser-sessions.ts';
import type { CliLoginRequest } from '../../identity/sign-in/cli-logins.ts';
import { beginPageEntry } from '../audit-request.ts';
import type { App, HttpDeps } from '../deps.ts';
import { type Notice, renderNotice } from '../pages/notice.ts';
import { cable, html, nameChars, renderPage, shown } from '../pages/page.ts';
import type { PageCookie } from '../pages/page-cookie.ts';
import { refuseForm } from '../pages/refuse-form.ts';
import { sendPage } from '../pages/send-page.ts';
import { formOf, takeForms } from '../pages/take-forms.ts';
import { choicesOf } from './login-page.ts';
import { organizationChoice } from './organization-choice.ts';
import { loginPath } from './paths.ts';
import { sessionOf } from './session-cookie.ts';

const config = { permission: 'public', checkOrigin: true } as const;
const schema = { hide: true };

const notices = {
  unknown: {
    kind: 'failure',
    title: 'This link does not work',
    text: 'It is not complete, or it is not from this server.',
    hint: 'Log in on the command line once more, and open the link that it shows.',
  },
  expired: {
    kind: 'gone',
    title: 'This link has expired',
    text: 'A login waits ten minutes.',
    hint: 'Log in on the command line once more, and open the link that it shows.',
  },
  decided: {
    kind: 'gone',
    title: 'This login is over',
    text: 'It was allowed or declined before.',
    hint: 'To log in again, begin on the command line.',
  },
  elsewhere: {
    kind: 'failure',
    title: 'Another organization is asked for',
    text: 'The command line wants an API key of an organization that you are not signed in to, or no member of.',
    hint: 'Sign out, and sign in with an API key of that organization or as one of its members.',
    action: { href: '/login', label: 'Sign out' },
  },
  allowed: {
    kind: 'success',
    title: 'The command line is logged in',
    text: 'It gets its API key in a moment. You can close this page and go back to it.',
  },
  declined: {
    kind: 'success',
    title: 'Declined',
    text: 'The command line gets nothing. You can close this page.',
  },
} as const satisfies Record<string, Notice>;

/** `/login/cli`: where a person who is signed in lets a command line log in, or not. */
export function confirmCliLoginRoutes(app: App, deps: HttpDeps, cookie: PageCookie): void {
  const { cliLogins, browsers } = deps;

  /** What is asked and who is asked; a page where that is not settled. */
  async function open(request: FastifyRequest, reply: FastifyReply): Promise<Opened | FastifyReply> {
    const { request: text } = request.query as { request?: unknown };
    const asked = typeof text === 'string' ? cliLogins.read(text) : undefined;
    if (asked === undefined) return sendPage(reply, 404, renderNotice(notices.unknown));
    if (asked === 'expired') return sendPage(reply, 410, renderNotice(notices.expired));
    const session = await sessionOf(deps, cookie, request);
    if (!session)
      return reply
        .code(303)
        .header('location', loginPath(pathOf(text as string)))
        .send();
    const organizations = (await choicesOf(deps, session)).filter(
      ({ id }) => asked.organizationId === undefined || asked.organizationId === id,
    );
    if (organizations.length === 0) return sendPage(reply, 403, renderNotice(notices.elsewhere));
    return { asked, session, organizations };
  }

  app.register(async (scope: App) => {
    takeForms(scope, deps);

    scope.get('/login/cli', { config, schema }, async (request, reply) => {
      const opened = await open(request, reply);
      if (!('asked' in opened)) return opened;
      const csrf = browsers.csrf(browsers.ensure(request, reply));
      const { request: text } = request.query as { request: string };
      const minutes = Math.max(0, Math.round((deps.clock.now() - opened.asked.askedAt) / 60_000));
      return sendPage(reply, 200, renderConfirmation({ ...opened, csrf, action: pathOf(text), minutes }));
    });

    scope.post('/login/cli', { config, schema }, async (request, reply) => {
      const opened = await open(request, reply);
      if (!('asked' in opened)) return opened;
      const form = formOf(request);
      if (!browsers.isOwnForm(browsers.read(request), form.get('csrf') ?? '')) {
        return refuseForm(reply, pathOf((request.query as { request: string }).request));
      }
      const { asked, session, organizations } = opened;
      const isAllowed = form.get('decision') === 'allow';
      // Where there is but one, the page does not ask.
      const chosen = form.get('organization') ?? organizations[0]?.id;
      const organization = organizations.find(({ id }) => id === chosen);
      if (!organization) return sendPage(reply, 403, renderNotice(notices.elsewhere));
      const { keyId, user } = session;
      const owner = { organizationId: organization.id, userId: user?.id ?? null, keyId };
      beginPageEntry(deps, reply, owner, isAllowed ? 'cli-login/allow' : 'cli-login/decline');
      if (!(await cliLogins.decide(asked, owner, isAllowed))) {
        request.entry?.failed('login_over');
        return sendPage(reply, 410, renderNotice(notices.decided));
      }
      return sendPage(reply, 200, renderNotice(isAllowed ? notices.allowed : notices.declined));
    });
  });
}

function pathOf(request: string): string {
  return `/login/cli?${new URLSearchParams({ request })}`;
}

interface Opened {
  asked: CliLoginRequest;
  session: BrowserSession;
  /** Those that the command line may get a key of: one at least. */
  organizations: readonly Organization[];
}

interface Confirmation extends Opened {
  csrf: string;
  action: string;
  /** How long ago the command line asked. */
  minutes: number;
}

/** Who asks for what, and the warning that remote phishing calls for (RFC 8628 §5.4): the asker may be anyone. */
function renderConfirmation(confirmation: Confirmation): string {
  const { asked, session, organizations, csrf, action, minutes } = confirmation;
  const [only] = organizations.length === 1 ? organizations : [];
  const may = session.user ? 'you may do in the organization' : 'your organization may';
  const heading = 'Log the command line in?';
  const when = minutes === 0 ? 'just now' : minutes === 1 ? 'a minute ago' : `${minutes} minutes ago`;
  const main = html`
<div class="patch" aria-hidden="true"><span class="tile">&gt;_</span>${cable}<span class="tile">P</span></div>
<h1>${heading}</h1>
<p class="lead">It gets an API key of its own, with which it may do all that ${may} here.</p>
<form method="post" action="${action}">
<input type="hidden" name="csrf" value="${csrf}">
<section class="terms" aria-labelledby="asked">
<h2 id="asked">What is asked</h2>
<dl>
${only && html`<div><dt>Organization</dt><dd dir="auto">${shown(only.name, nameChars)}</dd></div>`}
<div><dt>Asked by</dt><dd dir="auto">${shown(asked.client, nameChars)}</dd></div>
<div><dt>Asked</dt><dd>${when}</dd></div>
</dl>
</section>
${only ? undefined : organizationChoice(organizations, session.organization?.id)}
<p class="caution"><strong>If you did not just begin a login on your own command line, decline.</strong>
Somebody else may have sent you this link to get at your organization.</p>
<button name="decision" value="allow">Log it in</button>
<button class="quiet" name="decision" value="decline">Decline</button>
</form>`;
  return renderPage(heading, main);
}
