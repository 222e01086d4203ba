import swagger from '@fastify/swagger';
import type { FastifySchema, RouteOptions } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { version } from '../platform/version.ts';
import type { App } from './deps.ts';
import { errorSchema, registryErrorSchema } from './error-schemas.ts';

/** Collects the schemas of all routes that follow. Register before them. */
export async function collectSchemas(app: App): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Patchbay',
        version,
        description:
          'Self-hosted MCP connections. Every path below `/connect/{namespace}` is there at `/{namespace}` too.',
      },
      components: { securitySchemes: { bearerAuth: { type: 'http', scheme: 'bearer' } } },
      security: [{ bearerAuth: [] }],
    },
    transform: (route) => nameWildcard(jsonSchemaTransform(describeAccess(route as never))),
    transformObject: (route) => dropUnusedSchemas(jsonSchemaTransformObject(route)),
  });
}

/** What each guarded route needs, and how it answers whom it does not let in (access.ts). */
function describeAccess(input: Parameters<typeof jsonSchemaTransform>[0]) {
  const { schema, route } = input as { schema?: FastifySchema; route: RouteOptions };
  const { permission, errors } = route.config ?? {};
  if (!schema || schema.hide || !permission || permission === 'public') return input;
  const shape = errors === 'registry' ? registryErrorSchema : errorSchema;
  const refusals = {
    401: shape.describe('Missing or invalid token'),
    429: shape.describe('More requests, or calls at once, than there may be'),
  };
  const response = { ...(schema.response as object), ...refusals };
  return { ...input, schema: { ...schema, 'x-permission': permission, response } };
}

/** The router knows the rest of a path as `*`; OpenAPI wants a name, and the vendor's is `toolPath`. */
function nameWildcard({ schema, url }: ReturnType<typeof jsonSchemaTransform>) {
  if (!url.endsWith('/*') || !schema?.params) return { schema, url };
  const params = JSON.parse(JSON.stringify(schema.params).replaceAll('"*"', '"toolPath"'));
  return { schema: { ...schema, params }, url: `${url.slice(0, -1)}:toolPath` };
}

/** Each schema is there as input and as output; what no route refers to only confuses readers. */
function dropUnusedSchemas(document: ReturnType<typeof jsonSchemaTransformObject>) {
  const schemas =
    (document as { components?: { schemas?: Record<string, unknown> } }).components?.schemas ?? {};
  for (let dropped = true; dropped; ) {
    const text = JSON.stringify(document);
    const unused = Object.keys(schemas).filter((name) => !text.includes(`"#/components/schemas/${name}"`));
    for (const name of unused) delete schemas[name];
    dropped = unused.length > 0;
  }
  return document;
}

/** `GET /openapi.json`, made when it is first asked for. */
export function serveOpenApi(app: App, publicUrl: () => URL): void {
  let document: string | undefined;
  app.get(
    '/openapi.json',
    { config: { permission: 'public' }, schema: { hide: true } },
    async (_request, reply) => {
      document ??= JSON.stringify({ ...app.swagger(), servers: [{ url: publicUrl().origin }] });
      return reply.type('application/json').send(document);
    },
  );
}
