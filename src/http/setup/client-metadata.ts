import { clientMetadata } from '../../connections/oauth/clients.ts';
import { ApiError } from '../../platform/errors.ts';
import type { App, HttpDeps } from '../deps.ts';
import { clientMetadataPath } from './paths.ts';

/**
 * `GET /.well-known/oauth-client`: our client metadata document (MCP 2026-07-28, basic/authorization). There is none
 * while the public URL is not https: its own address is the client id, and must be.
 */
export function clientMetadataRoute(app: App, { oauth }: HttpDeps): void {
  app.get(
    clientMetadataPath,
    { config: { permission: 'public' }, schema: { hide: true } },
    async (_request, reply) => {
      const clientId = oauth.clientMetadataUrl();
      if (!clientId) throw new ApiError('not_found');
      const document = { client_id: clientId, ...clientMetadata(oauth.redirectUri(), 'none') };
      return reply
        .header('cache-control', 'public, max-age=300')
        .type('application/json')
        .send(JSON.stringify(document));
    },
  );
}
