import { z } from 'zod';
import { revokeInvitation } from '../../identity/members/invitations.ts';
import type { App, HttpDeps } from '../deps.ts';
import { registryErrorSchema } from '../error-schemas.ts';
import { organizationParams } from './schemas.ts';

/** `DELETE /organizations/{orgId}/invitations/{invitationId}`: its link is of no use any more. */
export function revokeInvitationRoute(app: App, { store }: HttpDeps): void {
  app.delete(
    '/organizations/:orgId/invitations/:invitationId',
    {
      config: { permission: 'admin', errors: 'registry', audit: 'invitations/revoke' },
      schema: {
        operationId: 'revokeInvitation',
        tags: ['organizations'],
        summary: 'Revoke an invitation',
        params: organizationParams.extend({ invitationId: z.string() }),
        response: {
          200: z.strictObject({ success: z.literal(true) }),
          403: registryErrorSchema,
          404: registryErrorSchema,
        },
      },
    },
    async ({ principal, params }) => {
      await revokeInvitation(store, principal.organizationId, params.invitationId);
      return { success: true as const };
    },
  );
}
