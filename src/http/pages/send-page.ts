import type { FastifyReply } from 'fastify';
import { pageHeaders } from './page.ts';

/** Sends a page, with the headers of all pages. */
export function sendPage(reply: FastifyReply, status: number, page: string): FastifyReply {
  return reply.code(status).headers(pageHeaders).send(page);
}
