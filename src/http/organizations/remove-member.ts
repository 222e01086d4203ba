import { z } from 'zod';
import { removeMember } from '../../identity/members/change.ts';
import type { App, HttpDeps } from '../deps.ts';
import { registryErrorSchema } from '../error-schemas.ts';
import { memberParams } from './schemas.ts';

/** `DELETE /organizations/{orgId}/members/{userId}`: by an admin, or by the member, who leaves. */
export function removeMemberRoute(app: App, { store }: HttpDeps): void {
  app.delete(
    '/organizations/:orgId/members/:userId',
    {
      config: { permission: 'member', errors: 'registry', audit: 'members/remove' },
      schema: {
        operationId: 'removeMember',
        tags: ['organizations'],
        summary: 'Remove a member, or leave',
        description: 'Ends the member’s API keys there, and all that descends from them.',
        params: memberParams,
        response: {
          200: z.strictObject({ success: z.literal(true) }),
          403: registryErrorSchema,
          404: registryErrorSchema,
          409: registryErrorSchema.describe('Its only owner would be gone'),
        },
      },
    },
    async ({ principal, params }) => {
      await removeMember(store, principal, params.userId);
      return { success: true as const };
    },
  );
}
