import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import type { App } from './deps.ts';

/** Collects the schemas of all routes that follow. Register before them. */
export async function collectSchemas(app: App): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Patchbay',
        version: '0.1.0',
        description:
          'Self-hosted MCP connections. Every path below `/connect/{namespace}` is there at `/{namespace}` too.',
      },
      components: { securitySchemes: { bearerAuth: { type: 'http', scheme: 'bearer' } } },
      security: [{ bearerAuth: [] }],
    },
    transform: jsonSchemaTransform,
    transformObject: jsonSchemaTransformObject,
  });
}

/** `GET /openapi.json` and a page to read it at `/docs`. */
export async function serveDocumentation(app: App, publicUrl: () => URL): Promise<void> {
  let document: string | undefined;
  app.get(
    '/openapi.json',
    { config: { permission: 'public' }, schema: { hide: true } },
    async (_request, reply) => {
      document ??= JSON.stringify({ ...app.swagger(), servers: [{ url: publicUrl().origin }] });
      return reply.type('application/json').send(document);
    },
  );
  await app.register(async (scope: App) => {
    scope.addHook('onRoute', (route) => {
      route.config = { ...route.config, permission: 'public' };
    });
    await scope.register(swaggerUi, {
      routePrefix: '/docs',
      staticCSP: true,
      theme: { title: 'Patchbay API' },
      uiConfig: { docExpansion: 'list', deepLinking: true, url: '/openapi.json' },
    });
  });
}
