import { clientMetadata } from '../../connections/oauth/clients.ts';
import type { App, HttpDeps } from '../deps.ts';
import { clientMetadataPath } from './paths.ts';

/**
 * `GET /.well-known/oauth-client`: our client metadata document (MCP 2026-07-28, basic/authorization). Its address is
 * our client id, wherever it is hosted. Authorization servers are told of it only while that is https.
 */
export function clientMetadataRoute(app: App, { oauth }: HttpDeps): void {
  app.get(
    clientMetadataPath,
    { config: { permission: 'public' }, schema: { hide: true } },
    async (_request, reply) => {
      const clientId = oauth.clientMetadataUrl() ?? new URL(clientMetadataPath, oauth.redirectUri()).href;
      const document = { client_id: clientId, ...clientMetadata(oauth.redirectUri(), 'none') };
      return reply
        .header('cache-control', 'public, max-age=300')
        .type('application/json')
        .send(JSON.stringify(document));
    },
  );
}
