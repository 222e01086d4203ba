import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Connection } from '../../connections/connection.ts';
import { findConnectionByUid } from '../../connections/find.ts';
import { moveLogin } from '../../connections/oauth/move-login.ts';
import { LoginMoved, startLogin } from '../../connections/oauth/start-login.ts';
import { enterInputs } from '../../connections/set.ts';
import { ApiError } from '../../platform/errors.ts';
import { refusedCredentials, UpstreamFault } from '../../upstream/fault.ts';
import type { HttpDeps } from '../deps.ts';
import { pageHeaders } from '../pages/page.ts';
import { refuseForm } from '../pages/refuse-form.ts';
import { sendPage } from '../pages/send-page.ts';
import { formOf } from '../pages/take-forms.ts';
import { renderContinue } from './continue.ts';
import { type OpenSetup, openSetup } from './open-setup.ts';
import { sendOutcome, setupPath } from './outcome.ts';
import { renderSetupForm } from './setup-form.ts';
import { loginOf, setupFormOf, withEntered } from './setup-model.ts';

/** A form that came from our own page, in the browser that it was given to. */
interface Submission {
  setup: OpenSetup;
  form: URLSearchParams;
  /** The secret of the browser's cookie. */
  browser: string;
  reply: FastifyReply;
}

/** `POST /{ns}/{id}/setup`: saves what was entered, and sends the person on to log in where that is needed. */
export async function submitSetup(
  deps: HttpDeps,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const setup = await openSetup(deps, reply, 'setup/submit');
  if ('page' in setup) return sendPage(reply, setup.status, setup.page);
  const form = formOf(request);
  const browser = deps.browsers.read(request);
  if (browser === undefined || !deps.browsers.isOwnForm(browser, form.get('csrf') ?? '')) {
    request.entry?.failed('setup_form_forged');
    return refuseForm(reply, setupPath(deps, setup.opened.connection, setup));
  }
  const { connection } = setup.opened;
  const { namespace, id } = connection;
  deps.log.info({ namespace, connectionId: id }, 'a setup link is used');
  const submission = { setup, form, browser, reply };
  try {
    return await goOn(deps, submission);
  } catch (error) {
    if (error instanceof LoginMoved) {
      await moveLogin(deps, connection, error.login);
      return showAgain(
        deps,
        submission,
        'The login has changed. Look at where it is, and for what, before you go on.',
      );
    }
    if (error instanceof UpstreamFault) {
      return showAgain(deps, submission, `The login cannot start: ${error.message}.`);
    }
    if (error instanceof ApiError && error.status < 500) return showAgain(deps, submission, error.message);
    throw error;
  }
}

async function goOn(deps: HttpDeps, submission: Submission): Promise<FastifyReply> {
  const { setup, form, browser, reply } = submission;
  const { opened, ticket, returnUrl } = setup;
  const { connection, grant } = opened;
  const saved = await saveInputs(deps, connection, form);
  const { status } = saved;
  if (status.state === 'input_required') return showAgain(deps, submission, 'Fill in what is required.');
  if (status.state === 'error' && saved !== connection) {
    return showAgain(deps, submission, problemOf(status.message));
  }
  const agreed = loginOf(connection, grant);
  if (!agreed && status.state === 'auth_required') {
    // The values led to a login: first the page says where and for what (MCP 2026-07-28, consent).
    const next = setupPath(deps, saved, { ticket, returnUrl });
    return reply.code(303).headers(pageHeaders).header('location', next).send();
  }
  const login = agreed && loginOf(saved, grant);
  if (!login) return sendOutcome(deps, reply, saved, returnUrl);
  const url = await startLogin(deps, saved, login, browser, { ticket, returnUrl });
  return sendPage(reply, 200, renderContinue({ url: url.href, host: url.host, why: 'login' }));
}

/** Stores what was entered as a PUT of the same would; the connection as it was if there was nothing to enter. */
async function saveInputs(
  deps: HttpDeps,
  connection: Connection,
  form: URLSearchParams,
): Promise<Connection> {
  const { inputs, uid, mcpUrl, status } = connection;
  if (!inputs || status.state === 'auth_required') return connection;
  const { headers } = await deps.credentials.open(connection);
  const stored = { headers, mcpUrl };
  const isSame = withEntered(inputs, form, stored) === stored;
  if (isSame && status.state !== 'input_required') return connection;
  return enterInputs(deps, uid, (current) => withEntered(inputs, form, current));
}

/** The form once more, with what is wrong, for the connection as it is now. */
async function showAgain(
  deps: HttpDeps,
  { setup, form, browser, reply }: Submission,
  problem: string,
): Promise<FastifyReply> {
  const { opened, ticket, returnUrl } = setup;
  reply.request.entry?.failed('setup_not_accepted');
  const current = await findConnectionByUid(deps.store, opened.connection.uid);
  if (!current) return sendOutcome(deps, reply, opened.connection, returnUrl);
  const { headers, grant } = await deps.credentials.open(current);
  const page = setupFormOf(current, {
    headers,
    grant,
    action: setupPath(deps, current, { ticket, returnUrl }),
    csrf: deps.browsers.csrf(browser),
    returnUrl,
    problem,
    entered: Object.fromEntries(form),
  });
  return sendPage(reply, 422, renderSetupForm(page));
}

/** What the person is told when a server does not work with what was entered. */
function problemOf(message: string): string {
  return message.startsWith(refusedCredentials)
    ? 'The server did not accept what you entered. Check it and try again.'
    : `The server does not work with what you entered: ${message}.`;
}
