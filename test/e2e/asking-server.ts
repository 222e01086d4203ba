import type { AuthorizationServer } from '../fixtures/oauth/authorization-server.ts';
import { bearerChallenge, bearerToken } from '../fixtures/oauth/guard.ts';
import { legacyServer, sendJson, startUpstream, type Upstream } from '../fixtures/upstream.ts';

/** The values that the server takes; another key or region is refused with 401. */
export const right = { key: 'key-that-is-right', region: 'eu' };

const configSchema = {
  type: 'object',
  properties: {
    apiKey: {
      type: 'string',
      title: 'API key',
      description: 'From the page “Developers” of your account.',
      'x-from': { header: 'x-api-key' },
    },
    region: { type: 'string', title: 'Region', description: 'Where your data is kept: eu or us.' },
    team: { type: 'string', title: 'Team' },
  },
  required: ['apiKey', 'region'],
};

/**
 * An MCP server that asks for a key (a header, secret), a region (a query value) and, if one likes, a team, and with
 * `loginAt` for a login there as well.
 */
export async function startAskingServer(loginAt?: AuthorizationServer): Promise<Upstream> {
  const { handler } = legacyServer();
  const server = await startUpstream((request, response) => {
    const url = new URL(request.path, server.url);
    const metadataPath = '/.well-known/oauth-protected-resource/mcp';
    switch (url.pathname) {
      case '/.well-known/mcp-config':
        return sendJson(response, 200, configSchema);
      case metadataPath: {
        if (!loginAt) return sendJson(response, 404, {});
        const { issuer } = loginAt;
        return sendJson(response, 200, {
          resource: server.url,
          authorization_servers: [issuer],
          scopes_supported: ['read', 'write'],
        });
      }
      case '/mcp':
        break;
      default:
        return sendJson(response, 404, {});
    }
    const isRight =
      request.headers['x-api-key'] === right.key && url.searchParams.get('region') === right.region;
    if (!isRight) return sendJson(response, 401, { error: 'unknown key' });
    const token = bearerToken(request.headers);
    if (loginAt && !(token && loginAt.isValid(token))) {
      const challenge = bearerChallenge({ resourceMetadata: new URL(metadataPath, server.url).href });
      return sendJson(response, 401, { error: 'unauthorized' }, { 'www-authenticate': challenge });
    }
    return handler(request, response);
  });
  return server;
}
