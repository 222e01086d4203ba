import { z } from 'zod';
import { notAdmin } from '../../identity/permits.ts';
import { constraintSchema } from '../../identity/tokens/constraint.ts';
import { mintToken } from '../../identity/tokens/mint.ts';
import type { App, HttpDeps } from '../deps.ts';
import { errorSchema } from '../error-schemas.ts';
import { acceptNoBody } from '../json-body.ts';

/** `POST /tokens`: a service token that may do what its policy permits of what the caller may do. */
export function createTokenRoute(app: App, deps: HttpDeps): void {
  app.post(
    '/tokens',
    {
      config: { permission: 'authenticated', audit: 'tokens/create' },
      preValidation: acceptNoBody,
      schema: {
        operationId: 'createToken',
        tags: ['tokens'],
        summary: 'Create a service token',
        description:
          'Constraints add up; the fields of one all have to match. Without a policy the token may do what its parent may. The header `Location` names the token for a later DELETE.',
        body: z
          .strictObject({
            policy: z.array(constraintSchema).min(1).optional(),
            organizationId: z.string().optional(),
          })
          .optional(),
        response: {
          200: z
            .strictObject({ token: z.string(), expiresAt: z.string().meta({ description: 'ISO 8601' }) })
            .meta({ id: 'CreateTokenResponse' }),
          400: errorSchema,
          403: errorSchema,
        },
      },
    },
    async (request, reply) => {
      const { policy, organizationId } = request.body ?? {};
      const { principal } = request;
      // The organization is named by who administers it (api.md §6).
      const isOwn = organizationId === undefined || organizationId === principal.organizationId;
      if (!isOwn || (organizationId !== undefined && principal.role === 'member')) throw notAdmin();
      const { id, token, expiresAt } = await mintToken(deps, principal, policy);
      reply.header('location', `/tokens/${id}`);
      return { token: token.reveal(), expiresAt: new Date(expiresAt).toISOString() };
    },
  );
}
