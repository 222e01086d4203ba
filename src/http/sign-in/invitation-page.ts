import type { FastifyReply, FastifyRequest } from 'fastify';
import { findInvitation, type OpenInvitation, takeInvitation } from '../../identity/members/invitations.ts';
import {
  type BrowserSession,
  openBrowserSession,
  switchOrganization,
} from '../../identity/sign-in/browser-sessions.ts';
import { isStorableText } from '../../platform/store/storable-text.ts';
import { beginPageEntry } from '../audit-request.ts';
import type { App, HttpDeps } from '../deps.ts';
import { type Notice, renderNotice } from '../pages/notice.ts';
import { cable, html, nameChars, renderPage, shown, shownHost } from '../pages/page.ts';
import type { PageCookie } from '../pages/page-cookie.ts';
import { refuseForm } from '../pages/refuse-form.ts';
import { sendPage } from '../pages/send-page.ts';
import { formOf, takeForms } from '../pages/take-forms.ts';
import { invitationPagePath, invitationPath, singleSignOnPath } from './paths.ts';
import { sessionOf } from './session-cookie.ts';

const config = { permission: 'public', checkOrigin: true } as const;
const schema = { hide: true };

const notices = {
  gone: {
    kind: 'gone',
    title: 'This invitation is over',
    text: 'Somebody has taken it, it was called back, or it has expired.',
    hint: 'Ask whoever sent it to you for another one.',
  },
  alreadyMember: {
    kind: 'success',
    title: 'You are a member already',
    text: 'The invitation stays as it is, for somebody else.',
    action: { href: '/login', label: 'Go on' },
  },
} as const satisfies Record<string, Notice>;

/** `/login/invitation`: who comes with the link of an invitation sees what it is, and becomes a member or does not. */
export function invitationPageRoutes(app: App, deps: HttpDeps, cookie: PageCookie): void {
  const { browsers } = deps;

  /** The invitation and who has come, a user or not; a page where there is no invitation. */
  async function open(request: FastifyRequest, reply: FastifyReply): Promise<Opened | FastifyReply> {
    const { invitation: secret } = request.query as { invitation?: unknown };
    const invitation = typeof secret === 'string' ? await findInvitation(deps, secret) : undefined;
    if (!invitation) return sendPage(reply, 410, renderNotice(notices.gone));
    const session = await sessionOf(deps, cookie, request);
    // The session of a key of an organization is nobody's, and that of a member's key is for one organization.
    const isUser = session?.user && session.keyId === null;
    return { secret: secret as string, invitation, session: isUser ? session : undefined };
  }

  function show(request: FastifyRequest, reply: FastifyReply, opened: Opened, problem?: string) {
    const csrf = browsers.csrf(browsers.ensure(request, reply));
    const sso = deps.sso?.host;
    const page = renderInvitation({ ...opened, csrf, problem, sso });
    return sendPage(reply, problem === undefined ? 200 : 400, page);
  }

  app.register(async (scope: App) => {
    takeForms(scope, deps);

    scope.get(invitationPagePath, { config, schema }, async (request, reply) => {
      const opened = await open(request, reply);
      return 'invitation' in opened ? show(request, reply, opened) : opened;
    });

    scope.post(invitationPagePath, { config, schema }, async (request, reply) => {
      const opened = await open(request, reply);
      if (!('invitation' in opened)) return opened;
      const { secret, session } = opened;
      const form = formOf(request);
      if (!browsers.isOwnForm(browsers.read(request), form.get('csrf') ?? '')) {
        return refuseForm(reply, invitationPath(secret));
      }
      // Where there is a provider, people come by it: nobody gets a key instead.
      if (!session && deps.sso) return show(request, reply, opened, 'Sign in first.');
      const name = form.get('name')?.trim() ?? '';
      if (!session && !isName(name)) {
        return show(request, reply, opened, `A name has 1 to ${nameChars} characters, in one line.`);
      }
      const invited = session?.user ? { userId: session.user.id } : { name };
      const taken = await takeInvitation(deps, secret, invited);
      if (taken.kind === 'gone') return sendPage(reply, 410, renderNotice(notices.gone));
      if (taken.kind === 'already_member') return sendPage(reply, 200, renderNotice(notices.alreadyMember));
      const { organizationId, userId, key } = taken;
      const keyId = key?.id ?? null;
      beginPageEntry(deps, reply, { organizationId, userId, keyId }, 'invitations/take');
      if (session) await switchOrganization(deps, session, organizationId);
      if (!key) return reply.code(303).header('location', '/login').send();
      cookie.set(reply, (await openBrowserSession(deps, { organizationId, userId, keyId })).reveal());
      return sendPage(reply, 200, renderJoined(opened.invitation, key.key.reveal()));
    });
  });
}

function isName(name: string): boolean {
  return name !== '' && name.length <= nameChars && isStorableText(name);
}

interface Opened {
  secret: string;
  invitation: OpenInvitation;
  /** The user who is signed in; undefined if nobody is. */
  session: BrowserSession | undefined;
}

interface Shown extends Opened {
  csrf: string;
  problem: string | undefined;
  /** The host of the provider that people sign in with. */
  sso: string | undefined;
}

const roleTexts = {
  owner: 'may do everything, and decides who is owner',
  admin: 'uses its connections, and keeps its members and API keys',
  member: 'uses its connections',
};

function renderInvitation({ secret, invitation, session, csrf, problem, sso }: Shown): string {
  const { organization, role, invitedBy, expiresAt } = invitation;
  const heading = `Join ${shown(organization.name, nameChars)}?`;
  const by = invitedBy === null ? 'An admin' : shown(invitedBy, nameChars);
  const main = html`
<div class="patch" aria-hidden="true"><span class="tile">+</span>${cable}<span class="tile">P</span></div>
<h1 dir="auto">${heading}</h1>
<p class="lead"><span dir="auto">${by}</span> invites you to the organization <strong dir="auto">${shown(organization.name, nameChars)}</strong> on this server.</p>
<form method="post" action="${invitationPath(secret)}">
<input type="hidden" name="csrf" value="${csrf}">
<section class="terms" aria-labelledby="offered">
<h2 id="offered">What is offered</h2>
<dl>
<div><dt>Role</dt><dd>${role}: ${roleTexts[role]}</dd></div>
<div><dt>Good until</dt><dd>${new Date(expiresAt).toISOString().slice(0, 16).replace('T', ' ')} UTC</dd></div>
${session?.user ? html`<div><dt>You are</dt><dd dir="auto">${shown(session.user.name, nameChars)}</dd></div>` : undefined}
</dl>
</section>
${
  session || sso !== undefined
    ? undefined
    : html`<div class="field">
<label for="name">Your name</label>
<input id="name" name="name" autocomplete="name" maxlength="${String(nameChars)}" required autofocus${problem === undefined ? undefined : html` aria-invalid="true" aria-describedby="problem"`}>
${problem === undefined ? undefined : html`<p class="problem" id="problem" role="alert">${problem}</p>`}
</div>`
}
${
  !session && sso !== undefined
    ? html`<p><a class="button" id="continue" href="${singleSignOnPath(invitationPath(secret))}">Sign in at ${shownHost(sso)}, then join</a></p>`
    : html`<button>Join</button>`
}
</form>`;
  return renderPage(problem === undefined ? heading : `Error: ${heading}`, main);
}

/** The one place where the key of a new member is shown. */
function renderJoined({ organization }: OpenInvitation, key: string): string {
  const heading = `You are a member of ${shown(organization.name, nameChars)}`;
  const main = html`
<h1 dir="auto">${heading}</h1>
<p class="lead">This is your API key. It is shown now and never again: keep it where you keep passwords. You sign in with it, and
programs use it to act for you.</p>
<p><code class="secret">${key}</code></p>
<p class="hint">When it is lost or seen by others, ask an admin to revoke it, and for another invitation.</p>
<p><a class="button" href="/login">Go on</a></p>`;
  return renderPage(heading, main);
}
