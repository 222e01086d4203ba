import { z } from 'zod';
import { revokeToken } from '../../identity/tokens/revoke.ts';
import type { App, HttpDeps } from '../deps.ts';
import { errorSchema } from '../error-schemas.ts';

/** `DELETE /tokens/{id}`: ends a token, and all that were minted from it, before their time. */
export function revokeTokenRoute(app: App, deps: HttpDeps): void {
  app.delete(
    '/tokens/:id',
    {
      config: { permission: 'authenticated', audit: 'tokens/revoke' },
      schema: {
        operationId: 'revokeToken',
        tags: ['tokens'],
        summary: 'Revoke a service token and all that were minted from it',
        description:
          'The id is the claim `jti` of the token. An API key may revoke every token of its organization, a service token itself.',
        params: z.object({ id: z.string() }),
        response: {
          200: z.strictObject({ success: z.literal(true) }),
          404: errorSchema,
        },
      },
    },
    async (request) => {
      await revokeToken(deps, request.principal, request.params.id);
      return { success: true as const };
    },
  );
}
