import type { FastifyReply, FastifyRequest } from 'fastify';
import type { HttpDeps } from '../deps.ts';
import { sendPage } from '../pages/send-page.ts';
import { openSetup } from './open-setup.ts';
import { sendOutcome, setupPath } from './outcome.ts';
import { renderSetupForm } from './setup-form.ts';
import { setupFormOf } from './setup-model.ts';

/** `GET /{ns}/{id}/setup`: the form, or how things stand where there is nothing to do. Changes nothing. */
export async function showSetup(
  deps: HttpDeps,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const setup = await openSetup(deps, reply, 'setup/open');
  if ('page' in setup) return sendPage(reply, setup.status, setup.page);
  const { opened, ticket, returnUrl } = setup;
  const { connection, headers, grant } = opened;
  const form = setupFormOf(connection, {
    headers,
    grant,
    action: setupPath(deps, connection, { ticket, returnUrl }),
    csrf: deps.browsers.csrf(deps.browsers.ensure(request, reply)),
    returnUrl,
  });
  if (form.fields.length === 0 && !form.login) return sendOutcome(deps, reply, connection, returnUrl);
  return sendPage(reply, 200, renderSetupForm(form));
}
