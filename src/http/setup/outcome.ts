import type { FastifyReply } from 'fastify';
import type { Connection } from '../../connections/connection.ts';
import { findConnectionByUid } from '../../connections/find.ts';
import type { HttpDeps } from '../deps.ts';
import { type Notice, renderNotice } from '../pages/notice.ts';
import { pageHeaders } from '../pages/page.ts';
import { sendPage } from '../pages/send-page.ts';
import { renderContinue } from './continue.ts';

/** The end of a setup: back to the application if it asked for that, else a page that says how it went. */
export async function sendOutcome(
  deps: HttpDeps,
  reply: FastifyReply,
  { uid }: Connection,
  returnUrl: string | undefined,
): Promise<FastifyReply> {
  const connection = await findConnectionByUid(deps.store, uid);
  if (connection && returnUrl) {
    const url = new URL(returnUrl);
    url.searchParams.set('connectionId', connection.id);
    url.searchParams.set('status', connection.status.state);
    // The answer of a form must not redirect to another site (continue.ts).
    if (reply.request.method === 'POST') {
      return sendPage(reply, 200, renderContinue({ url: url.href, host: url.host, why: 'return' }));
    }
    return reply.code(303).headers(pageHeaders).header('location', url.href).send();
  }
  return sendPage(reply, 200, renderNotice(noticeOf(deps, connection)));
}

function noticeOf(deps: HttpDeps, connection: Connection | undefined): Notice {
  if (!connection) {
    return {
      kind: 'gone',
      title: 'This connection is gone',
      text: 'The application deleted it while you were away.',
    };
  }
  const { status, mcpUrl } = connection;
  const { host } = new URL(mcpUrl);
  switch (status.state) {
    case 'connected':
      return {
        kind: 'success',
        title: 'All set',
        text: `You are connected to ${host}. You can close this page and go back to the application.`,
      };
    case 'error':
      return {
        kind: 'failure',
        title: 'Saved, but the server does not work yet',
        text: `${host}: ${status.message}.`,
        hint: 'It is tried again by itself. If it goes on, tell the makers of the application.',
      };
    default:
      return {
        kind: 'failure',
        title: 'There is more to do',
        text: `${host} still asks for something.`,
        action: { href: setupPath(deps, connection), label: 'Go on' },
      };
  }
}

/**
 * Path and query of the setup page of a connection. `ticket` is the one that led here, which the new one does not
 * outlive; without one it is fresh.
 */
export function setupPath(
  deps: HttpDeps,
  connection: Connection,
  { ticket, returnUrl }: { ticket?: string | undefined; returnUrl?: string | undefined } = {},
): string {
  const { tickets } = deps;
  const url = new URL(ticket ? tickets.urlAfter(ticket, connection) : tickets.urlOf(connection));
  if (returnUrl) url.searchParams.set('returnUrl', returnUrl);
  return url.pathname + url.search;
}
