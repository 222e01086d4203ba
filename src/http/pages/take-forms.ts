import type { FastifyRequest } from 'fastify';
import type { App, HttpDeps } from '../deps.ts';

/** Makes the routes of a scope take the forms of pages, and no other body. */
export function takeForms(scope: App, { limits }: HttpDeps): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: limits.pageFormBytes },
    (_request, body, done) => done(null, new URLSearchParams(body as string)),
  );
}

/** What a form sent; nothing where there was no body. */
export function formOf({ body }: FastifyRequest): URLSearchParams {
  return body instanceof URLSearchParams ? body : new URLSearchParams();
}
