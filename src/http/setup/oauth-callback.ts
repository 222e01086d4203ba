import { z } from 'zod';
import { finishLogin, type LoginOutcome } from '../../connections/oauth/finish-login.ts';
import { readNamespaceSettings } from '../../identity/namespace-settings.ts';
import { isAllowedReturnUrl } from '../../identity/return-url.ts';
import { beginSetupEntry } from '../audit-request.ts';
import type { App, HttpDeps } from '../deps.ts';
import { type Notice, renderNotice } from '../pages/notice.ts';
import { sendPage } from '../pages/send-page.ts';
import { usedNotice } from './open-setup.ts';
import { sendOutcome, setupPath } from './outcome.ts';
import { callbackPath } from './paths.ts';

const parameter = z.string().max(8192).optional();

/**
 * `GET /oauth/callback`: where a provider sends the person back to. Public: the state and the browser's cookie say
 * which login it is (RFC 6749 §4.1.2).
 */
export function oauthCallbackRoute(app: App, deps: HttpDeps): void {
  app.get(
    callbackPath,
    {
      config: { permission: 'public' },
      schema: {
        hide: true,
        querystring: z.object({ state: parameter, code: parameter, error: parameter, iss: parameter }),
      },
    },
    async (request, reply) => {
      const { state, code, error, iss } = request.query;
      const browser = deps.browsers.read(request);
      const outcome: LoginOutcome =
        state === undefined
          ? { kind: 'unknown' }
          : await finishLogin(deps, { state, code, error, iss }, browser);
      if ('connection' in outcome) await beginSetupEntry(deps, reply, outcome.connection, 'setup/login');
      if (outcome.kind !== 'granted') {
        request.entry?.failed(`login_${outcome.kind}`);
        const { status, notice } = explain(deps, outcome);
        return sendPage(reply, status, renderNotice(notice));
      }
      const { connection, returnUrl } = outcome;
      await deps.healer.probeNow(connection);
      await deps.sessions.end(connection.uid, connection.targetVersion + 1);
      // The application may have taken the address off its list since the login began.
      const settings = await readNamespaceSettings(deps.store, connection.namespace);
      const isAllowed = returnUrl !== undefined && isAllowedReturnUrl(settings, returnUrl);
      return sendOutcome(deps, reply, connection, isAllowed ? returnUrl : undefined);
    },
  );
}

function explain(
  deps: HttpDeps,
  outcome: Exclude<LoginOutcome, { kind: 'granted' }>,
): { status: number; notice: Notice } {
  switch (outcome.kind) {
    case 'unknown':
      return {
        status: 410,
        notice: {
          kind: 'gone',
          title: 'This login is over',
          text: 'It was finished already, or took longer than ten minutes.',
          hint: 'If the application still asks you to log in, start again there.',
        },
      };
    case 'other_browser':
      return {
        status: 403,
        notice: {
          kind: 'failure',
          title: 'This login was not started here',
          text: 'It began in another browser, or this one has lost its cookie. Nothing was connected.',
          hint: 'If somebody sent you the link, close this page. If it was you, start again and stay in one browser.',
        },
      };
    case 'superseded':
      return { status: 410, notice: usedNotice(outcome.connection) };
    case 'declined':
      return {
        status: 200,
        notice: {
          kind: 'failure',
          title: 'You declined',
          text: 'Nothing was connected, and the application cannot use your account.',
          hint: 'You can close this page, or try again.',
          action: {
            href: setupPath(deps, outcome.connection, outcome.back),
            label: 'Try again',
          },
        },
      };
    case 'failed':
      return {
        status: 502,
        notice: {
          kind: 'failure',
          title: 'The login did not work',
          text: `The server refused: ${outcome.reason}.`,
          hint: 'Try again. If it goes on, tell the makers of the application.',
          action: {
            href: setupPath(deps, outcome.connection, outcome.back),
            label: 'Try again',
          },
        },
      };
  }
}
