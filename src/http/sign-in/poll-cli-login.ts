import { z } from 'zod';
import { ApiError } from '../../platform/errors.ts';
import type { App, HttpDeps } from '../deps.ts';
import { errorSchema } from '../error-schemas.ts';

const organizationSchema = z.strictObject({
  id: z.string(),
  name: z.string(),
  slug: z.string(),
  namespace: z.string().nullable(),
});

/** `GET /api/auth/cli/poll/{sessionId}`: what became of the login of a command line. */
export function pollCliLoginRoute(app: App, { cliLogins }: HttpDeps): void {
  app.get(
    '/api/auth/cli/poll/:sessionId',
    {
      config: { permission: 'public' },
      schema: {
        operationId: 'pollCliLogin',
        tags: ['sign-in'],
        summary: 'Ask how the login of a command line stands',
        description: '`success` comes once, with an API key that is made then.',
        params: z.object({ sessionId: z.string() }),
        response: {
          200: z.union([
            z.strictObject({ status: z.literal('pending') }),
            z.strictObject({ status: z.literal('error'), message: z.string() }),
            z.strictObject({
              status: z.literal('success'),
              apiKey: z.string(),
              organization: organizationSchema,
              namespace: z.string().optional(),
            }),
          ]),
          404: errorSchema.describe('No such login'),
          410: errorSchema.describe('It has expired, or its key was handed out'),
        },
      },
    },
    async (request) => {
      const state = await cliLogins.take(request.params.sessionId);
      switch (state.kind) {
        case 'unknown':
          throw new ApiError('not_found', { message: 'No such login' });
        case 'expired':
          throw new ApiError('login_expired');
        case 'pending':
          return { status: 'pending' as const };
        case 'declined':
          return { status: 'error' as const, message: 'The login was declined in the browser.' };
        case 'allowed': {
          const { organization, created } = state;
          const { namespace } = organization;
          return {
            status: 'success' as const,
            apiKey: created.key.reveal(),
            organization: { ...organization, slug: slugOf(organization.name) },
            ...(namespace !== null && { namespace }),
          };
        }
      }
    },
  );
}

/** A name as it stands in addresses. */
function slugOf(name: string): string {
  return name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
}
