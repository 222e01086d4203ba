import type { FastifyReply } from 'fastify';
import { renderNotice } from './notice.ts';
import { sendPage } from './send-page.ts';

/** Answers a form that did not come from our page, in the browser that the page was given to. `href` leads to the page. */
export function refuseForm(reply: FastifyReply, href: string): FastifyReply {
  const page = renderNotice({
    kind: 'failure',
    title: 'This form did not come from its page',
    text: 'Your browser did not send back the cookie that the page had set.',
    hint: 'Allow cookies for this site, open the link again, and send the form from there.',
    action: { href, label: 'Open the page again' },
  });
  return sendPage(reply, 403, page);
}
