import { z } from 'zod';
import type { Connection } from '../../connections/connection.ts';
import { findConnectionByUid } from '../../connections/find.ts';
import { startLogin } from '../../connections/oauth/start-login.ts';
import { setConnection } from '../../connections/set.ts';
import { ApiError } from '../../platform/errors.ts';
import { refusedCredentials, UpstreamFault } from '../../upstream/fault.ts';
import type { App, HttpDeps } from '../deps.ts';
import { renderContinue } from './continue.ts';
import { renderNotice } from './notice.ts';
import { openSetup } from './open-setup.ts';
import { sendOutcome, sendPage, setupPath } from './outcome.ts';
import { pageHeaders } from './page.ts';
import { renderSetupForm } from './setup-form.ts';
import { loginOf, setupFormOf, withEntered } from './setup-model.ts';

const path = '/:namespace/:connectionId/setup';
const params = z.object({ namespace: z.string(), connectionId: z.string() });
const config = { permission: 'public', checkOrigin: true } as const;

/**
 * The setup page, where a person gives a connection what it waits for. `GET` shows it and starts nothing; `POST` saves
 * what was entered, and sends the person on to log in where that is needed. The link's ticket is the permission
 * (design §8, Setup tickets).
 */
export function setupPageRoutes(app: App, deps: HttpDeps): void {
  app.register(async (scope: App) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      'application/x-www-form-urlencoded',
      { parseAs: 'string', bodyLimit: deps.limits.setupFormBytes },
      (_request, body, done) => done(null, new URLSearchParams(body as string)),
    );

    scope.get(path, { config, schema: { hide: true, params } }, async (request, reply) => {
      const setup = await openSetup(deps, request);
      if ('page' in setup) return sendPage(reply, setup.status, setup.page);
      const { opened, ticket, returnUrl } = setup;
      const form = setupFormOf(opened.connection, {
        headers: opened.headers,
        grant: opened.grant,
        action: setupPath(deps, opened.connection, { ticket, returnUrl }),
        csrf: deps.browsers.csrf(deps.browsers.ensure(request, reply)),
        returnUrl,
      });
      if (form.fields.length === 0 && !form.login)
        return sendOutcome(deps, reply, opened.connection, returnUrl);
      return sendPage(reply, 200, renderSetupForm(form));
    });

    scope.post(path, { config, schema: { hide: true, params } }, async (request, reply) => {
      const setup = await openSetup(deps, request);
      if ('page' in setup) return sendPage(reply, setup.status, setup.page);
      const { ticket, returnUrl } = setup;
      const { connection } = setup.opened;
      const form = request.body instanceof URLSearchParams ? request.body : new URLSearchParams();
      const browser = deps.browsers.read(request);
      if (browser === undefined || !deps.browsers.isOwnForm(browser, form.get('csrf') ?? '')) {
        const notice = {
          kind: 'failure',
          title: 'This form did not come from its page',
          text: 'Your browser did not send back the cookie that the page had set.',
          hint: 'Allow cookies for this site, open the link again, and send the form from there.',
          action: { href: setupPath(deps, connection, { ticket, returnUrl }), label: 'Open the page again' },
        } as const;
        return sendPage(reply, 403, renderNotice(notice));
      }
      const again = async (uid: string, problem: string) => {
        const current = await findConnectionByUid(deps.store, uid);
        if (!current) return sendOutcome(deps, reply, connection, returnUrl);
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
      };
      const { namespace, id } = connection;
      deps.log.info({ namespace, connectionId: id }, 'a setup link is used');
      try {
        const saved = await saveInputs(deps, connection, form);
        if (saved.status.state === 'input_required') {
          return await again(saved.uid, 'Fill in what is required.');
        }
        if (saved.status.state === 'error' && saved !== connection) {
          return await again(saved.uid, problemOf(saved.status.message));
        }
        const { grant } = setup.opened;
        const agreed = loginOf(connection, grant);
        if (!agreed && saved.status.state === 'auth_required') {
          // The values led to a login: first the page says where and for what (MCP 2026-07-28, consent).
          const next = setupPath(deps, saved, { ticket, returnUrl });
          return reply.code(303).headers(pageHeaders).header('location', next).send();
        }
        const login = agreed && loginOf(saved, grant);
        if (!login) return await sendOutcome(deps, reply, saved, returnUrl);
        const url = await startLogin(deps, saved, login, browser, returnUrl);
        return sendPage(reply, 200, renderContinue({ url: url.href, host: url.host, why: 'login' }));
      } catch (error) {
        if (error instanceof UpstreamFault)
          return again(connection.uid, `The login cannot start: ${error.message}.`);
        if (error instanceof ApiError && error.status < 500) return again(connection.uid, error.message);
        throw error;
      }
    });
  });
}

/** Stores what was entered as a PUT of the same would; the connection as it was if there was nothing to enter. */
async function saveInputs(
  deps: HttpDeps,
  connection: Connection,
  form: URLSearchParams,
): Promise<Connection> {
  const { inputs, namespace, id, mcpUrl, status } = connection;
  if (!inputs || status.state === 'auth_required') return connection;
  const { headers } = await deps.credentials.open(connection);
  const stored = { headers, mcpUrl };
  const entered = withEntered(inputs, form, stored);
  if (entered === stored && status.state !== 'input_required') return connection;
  const saved = await setConnection(deps, namespace, id, entered, 'setup');
  return saved.connection;
}

/** What the person is told when a server does not work with what was entered. */
function problemOf(message: string): string {
  return message.startsWith(refusedCredentials)
    ? 'The server did not accept what you entered. Check it and try again.'
    : `The server does not work with what you entered: ${message}.`;
}
