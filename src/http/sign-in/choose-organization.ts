import { z } from 'zod';
import { notAdmin } from '../../identity/permits.ts';
import { ApiError } from '../../platform/errors.ts';
import type { App, HttpDeps } from '../deps.ts';
import { errorSchema } from '../error-schemas.ts';

/**
 * `POST /api/auth/cli/session/{sessionId}/organization`: whose API key the command line wants. The person has chosen in the
 * browser, so it is that one or none.
 */
export function chooseOrganizationRoute(app: App, { cliLogins }: HttpDeps): void {
  app.post(
    '/api/auth/cli/session/:sessionId/organization',
    {
      config: { permission: 'public' },
      schema: {
        operationId: 'chooseCliOrganization',
        tags: ['sign-in'],
        summary: 'Choose the organization of a login',
        params: z.object({ sessionId: z.string() }),
        body: z.object({ organizationId: z.string() }),
        response: {
          200: z.strictObject({ success: z.literal(true) }),
          400: errorSchema,
          403: errorSchema,
          404: errorSchema.describe('No such login, or nobody has allowed it'),
        },
      },
    },
    async (request) => {
      const organizationId = await cliLogins.organizationOf(request.params.sessionId);
      if (organizationId === undefined) throw new ApiError('not_found', { message: 'No such login' });
      if (organizationId !== request.body.organizationId) throw notAdmin();
      return { success: true as const };
    },
  );
}
