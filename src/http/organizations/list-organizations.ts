import { z } from 'zod';
import { listOrganizations } from '../../identity/organizations.ts';
import type { App, HttpDeps } from '../deps.ts';
import { roleSchema } from './schemas.ts';

/** `GET /organizations`: the caller's own, so that its id can be learned. */
export function listOrganizationsRoute(app: App, { store }: HttpDeps): void {
  app.get(
    '/organizations',
    {
      config: { permission: 'authenticated', errors: 'registry' },
      schema: {
        operationId: 'listOrganizations',
        tags: ['organizations'],
        summary: 'List your organizations',
        response: {
          200: z.strictObject({
            organizations: z.array(
              z
                .strictObject({
                  id: z.string(),
                  name: z.string(),
                  role: roleSchema.meta({
                    description:
                      'Of a person, or of the one whose key it is; `admin` for a key of the organization, `member` for a service token',
                  }),
                })
                .meta({ id: 'Organization' }),
            ),
          }),
        },
      },
    },
    async ({ principal }) => ({ organizations: await listOrganizations(store, principal) }),
  );
}
