import { z } from 'zod';
import { changeRole } from '../../identity/members/change.ts';
import type { App, HttpDeps } from '../deps.ts';
import { registryErrorSchema } from '../error-schemas.ts';
import { memberParams, roleSchema } from './schemas.ts';

/** `PATCH /organizations/{orgId}/members/{userId}`: another role, which counts at once. */
export function changeMemberRoute(app: App, { store }: HttpDeps): void {
  app.patch(
    '/organizations/:orgId/members/:userId',
    {
      config: { permission: 'admin', errors: 'registry', audit: 'members/change' },
      schema: {
        operationId: 'changeMember',
        tags: ['organizations'],
        summary: 'Give a member another role',
        description: 'Only an owner decides who is owner; while there is none, an admin.',
        params: memberParams,
        body: z.strictObject({ role: roleSchema }),
        response: {
          200: z.strictObject({ success: z.literal(true) }),
          400: registryErrorSchema,
          403: registryErrorSchema,
          404: registryErrorSchema,
          409: registryErrorSchema.describe('Its only owner would be owner no more'),
        },
      },
    },
    async ({ principal, params, body }) => {
      await changeRole(store, principal, params.userId, body.role);
      return { success: true as const };
    },
  );
}
