import type { FastifyReply } from 'fastify';
import type { Connection } from '../../connections/connection.ts';
import { isConnectionId } from '../../connections/connection-id.ts';
import type { ResolvedConnection } from '../../connections/credentials.ts';
import { findConnection } from '../../connections/find.ts';
import { readNamespaceSettings } from '../../identity/namespace-settings.ts';
import { isAllowedReturnUrl } from '../../identity/return-url.ts';
import { beginSetupEntry } from '../audit-request.ts';
import type { HttpDeps } from '../deps.ts';
import { type Notice, renderNotice } from '../pages/notice.ts';

/** A setup that a ticket opened. */
export interface OpenSetup {
  opened: ResolvedConnection;
  ticket: string;
  returnUrl: string | undefined;
}

/** Why a setup page has nothing to offer, as a whole page. */
export interface Refusal {
  status: number;
  page: string;
}

const askForNewLink =
  'Go back to the application that sent you here and start again there: it gets a new link.';

/**
 * Finds the connection of a setup link and checks its ticket. A link without a good ticket says the same whether or
 * not there is such a connection. The use of a link that was ours is audited, under `action` (design §8, Permissions).
 */
export async function openSetup(
  deps: HttpDeps,
  reply: FastifyReply,
  action: 'setup/open' | 'setup/submit',
): Promise<OpenSetup | Refusal> {
  const { request } = reply;
  const { namespace, connectionId } = request.params as { namespace: string; connectionId: string };
  const query = request.query as Record<string, unknown>;
  const isId = isConnectionId(connectionId, deps.limits.connectionIdChars);
  const connection = isId ? await findConnection(deps.store, namespace, connectionId) : undefined;
  const ticket = typeof query.ticket === 'string' ? query.ticket : '';
  const verdict = connection ? deps.tickets.check(ticket, connection) : 'invalid';
  if (!connection || verdict === 'invalid') {
    return refuse(404, {
      kind: 'failure',
      title: 'This link does not work',
      text: 'It is not complete, or what it was for is gone.',
      hint: askForNewLink,
    });
  }
  await beginSetupEntry(deps, reply, connection, action);
  if (verdict === 'used') {
    request.entry?.failed('setup_link_used');
    return refuse(410, usedNotice(connection));
  }
  if (verdict === 'expired') {
    request.entry?.failed('setup_link_expired');
    return refuse(410, {
      kind: 'gone',
      title: 'This link has expired',
      text: 'For your safety, a setup link works for one hour.',
      hint: askForNewLink,
    });
  }
  const returnUrl = query.returnUrl;
  if (returnUrl === undefined) return { opened: await deps.credentials.open(connection), ticket, returnUrl };
  const settings = await readNamespaceSettings(deps.store, namespace);
  if (typeof returnUrl !== 'string' || !isAllowedReturnUrl(settings, returnUrl)) {
    request.entry?.failed('return_url_not_allowed');
    return refuse(400, {
      kind: 'failure',
      title: 'This link leads somewhere unknown',
      text: 'The address that it would bring you back to is not one that the application has listed.',
      hint: 'Tell the makers of the application: returnUrl must be in the settings of its namespace.',
    });
  }
  return { opened: await deps.credentials.open(connection), ticket, returnUrl };
}

/** The page for a setup that is over: what became of it. */
export function usedNotice({ status }: Connection): Notice {
  if (status.state === 'connected') {
    return {
      kind: 'success',
      title: 'All set',
      text: 'This connection is set up and working. You can close this page.',
    };
  }
  return {
    kind: 'gone',
    title: 'This link was used already',
    text: 'A setup link works once.',
    hint: askForNewLink,
  };
}

function refuse(status: number, notice: Notice): Refusal {
  return { status, page: renderNotice(notice) };
}
