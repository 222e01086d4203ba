import { z } from 'zod';
import { createInvitation } from '../../identity/members/invitations.ts';
import type { App, HttpDeps } from '../deps.ts';
import { registryErrorSchema } from '../error-schemas.ts';
import { acceptNoBody } from '../json-body.ts';
import { invitationPath } from '../sign-in/paths.ts';
import { createdInvitationSchema, organizationParams, presentInvitation, roleSchema } from './schemas.ts';

/** `POST /organizations/{orgId}/invitations`: a link with which one person becomes a member. */
export function createInvitationRoute(app: App, deps: HttpDeps, publicUrl: () => URL): void {
  app.post(
    '/organizations/:orgId/invitations',
    {
      config: { permission: 'admin', errors: 'registry', audit: 'invitations/create' },
      preValidation: acceptNoBody,
      schema: {
        operationId: 'createInvitation',
        tags: ['organizations'],
        summary: 'Invite somebody by a link, which is in this answer and nowhere else',
        description: 'Good for seven days. Only an owner invites an owner; while there is none, an admin.',
        params: organizationParams,
        body: z.strictObject({ role: roleSchema.default('member') }).optional(),
        response: {
          201: createdInvitationSchema,
          400: registryErrorSchema,
          403: registryErrorSchema,
        },
      },
    },
    async ({ principal, body }, reply) => {
      const { secret, ...invitation } = await createInvitation(deps, principal, body?.role ?? 'member');
      const url = new URL(invitationPath(secret.reveal()), publicUrl()).href;
      return reply.code(201).send({ ...presentInvitation(invitation), url });
    },
  );
}
