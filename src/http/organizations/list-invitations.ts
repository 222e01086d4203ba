import { z } from 'zod';
import { listInvitations } from '../../identity/members/invitations.ts';
import type { App, HttpDeps } from '../deps.ts';
import { registryErrorSchema } from '../error-schemas.ts';
import { invitationSchema, organizationParams, presentInvitation } from './schemas.ts';

/** `GET /organizations/{orgId}/invitations`: those that wait, without their links. */
export function listInvitationsRoute(app: App, deps: HttpDeps): void {
  app.get(
    '/organizations/:orgId/invitations',
    {
      config: { permission: 'admin', errors: 'registry' },
      schema: {
        operationId: 'listInvitations',
        tags: ['organizations'],
        summary: 'List the invitations that nobody has taken yet, oldest first',
        params: organizationParams,
        response: {
          200: z.strictObject({ invitations: z.array(invitationSchema) }),
          403: registryErrorSchema,
        },
      },
    },
    async ({ principal }) => {
      const invitations = await listInvitations(deps, principal.organizationId);
      return { invitations: invitations.map(presentInvitation) };
    },
  );
}
