import type { App } from '../deps.ts';
import { connectMcpPath, mcpPath } from './mcp-endpoint.ts';
import { namespaceMcpPath } from './namespace-endpoint.ts';

const wellKnown = '/.well-known/oauth-protected-resource';

/** `path` is that of an MCP endpoint as the caller wrote it; the address of its metadata document (RFC 9728 §3.1). */
export function resourceMetadataUrl(publicUrl: URL, path: string): string {
  return new URL(`${wellKnown}${path}`, publicUrl).href;
}

/**
 * What each MCP endpoint says of itself as a protected resource (RFC 9728 §2). It names no authorization server, for
 * there is none: a token is an API key. It is the same for every path, so it does not tell what exists.
 */
export function protectedResourceRoutes(app: App, publicUrl: () => URL): void {
  for (const path of [namespaceMcpPath, mcpPath, connectMcpPath, `/connect${connectMcpPath}`]) {
    app.get(
      `${wellKnown}${path}`,
      { config: { permission: 'public' }, schema: { hide: true } },
      async (request, reply) => {
        const [asked = ''] = request.url.split('?');
        const document = {
          resource: new URL(asked.slice(wellKnown.length), publicUrl()).href,
          bearer_methods_supported: ['header'],
          resource_name: 'Patchbay',
          resource_documentation: new URL('/docs', publicUrl()).href,
        };
        return reply.type('application/json').send(JSON.stringify(document));
      },
    );
  }
}
