import { z } from 'zod';
import type { App, HttpDeps } from '../deps.ts';
import { errorSchema } from '../error-schemas.ts';
import { acceptNoBody } from '../json-body.ts';
import { nameChars, shown } from '../pages/page.ts';

/** `POST /api/auth/cli/session`: begins the login of a command line. */
export function beginCliLoginRoute(app: App, { cliLogins }: HttpDeps, publicUrl: () => URL): void {
  app.post(
    '/api/auth/cli/session',
    {
      config: { permission: 'public' },
      preValidation: acceptNoBody,
      schema: {
        operationId: 'beginCliLogin',
        tags: ['sign-in'],
        summary: 'Begin the login of a command line',
        description:
          'Open `authUrl` in a browser and poll with `sessionId`, which is a secret, for the API key.',
        body: z.object({ organizationId: z.string().max(100).optional() }).optional(),
        response: { 200: z.strictObject({ sessionId: z.string(), authUrl: z.url() }), 400: errorSchema },
      },
    },
    async (request) => {
      const organizationId = request.body?.organizationId;
      const client = shown(request.headers['user-agent'] ?? 'a program without a name', nameChars);
      const { sessionId, request: asked } = cliLogins.begin({ organizationId, client });
      return {
        sessionId,
        authUrl: `${publicUrl().origin}/login/cli?${new URLSearchParams({ request: asked })}`,
      };
    },
  );
}
