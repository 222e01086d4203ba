import { createReadStream } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { App } from './deps.ts';
import { favicon, html } from './pages/page.ts';

const route = { config: { permission: 'public' as const }, schema: { hide: true } };

// The page loads nothing from elsewhere. Swagger UI styles itself inline.
const pagePolicy =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Patchbay API</title>
<link rel="icon" href="${favicon}">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<script src="/docs/swagger-ui-bundle.js" defer></script>
<script src="/docs/open.js" defer></script>
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript. <a href="/openapi.json">The contract itself</a> does not.</noscript>
</body>
</html>
`.markup;

// Without the bar on top, which asks for the address of a document, and without a check of it by somebody else's service.
const openScript = `SwaggerUIBundle(${JSON.stringify({
  url: '/openapi.json',
  dom_id: '#swagger-ui',
  docExpansion: 'list',
  deepLinking: true,
  layout: 'BaseLayout',
  validatorUrl: null,
})});
`;

/**
 * A page to read the contract at `/docs`, and the way there for a person who opens the origin. Of `@fastify/swagger-ui` it
 * serves the files alone: what the plugin loads to do so takes 13 MB in every process, for a page that few of them are asked for.
 */
export function serveDocumentation(app: App): void {
  app.get('/', route, (_request, reply) => reply.redirect('/docs'));
  app.get('/docs', route, (_request, reply) =>
    reply.type('text/html; charset=utf-8').header('content-security-policy', pagePolicy).send(page),
  );
  app.get('/docs/open.js', route, (_request, reply) =>
    reply.type('text/javascript; charset=utf-8').send(openScript),
  );
  const serveFile = (path: string, type: string, url: string) => {
    const file = fileURLToPath(url);
    app.get(path, route, (_request, reply) =>
      reply.type(type).header('cache-control', 'public, max-age=3600').send(createReadStream(file)),
    );
  };
  serveFile(
    '/docs/swagger-ui.css',
    'text/css; charset=utf-8',
    import.meta.resolve('@fastify/swagger-ui/static/swagger-ui.css'),
  );
  serveFile(
    '/docs/swagger-ui-bundle.js',
    'text/javascript; charset=utf-8',
    import.meta.resolve('@fastify/swagger-ui/static/swagger-ui-bundle.js'),
  );
}
