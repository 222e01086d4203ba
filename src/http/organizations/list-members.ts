import { z } from 'zod';
import { listMembers } from '../../identity/members/list.ts';
import type { App, HttpDeps } from '../deps.ts';
import { registryErrorSchema } from '../error-schemas.ts';
import { memberSchema, organizationParams } from './schemas.ts';

/** `GET /organizations/{orgId}/members`: who belongs to it. */
export function listMembersRoute(app: App, { store }: HttpDeps): void {
  app.get(
    '/organizations/:orgId/members',
    {
      config: { permission: 'member', errors: 'registry' },
      schema: {
        operationId: 'listMembers',
        tags: ['organizations'],
        summary: 'List the members of an organization, the longest one first',
        params: organizationParams,
        response: {
          200: z.strictObject({ members: z.array(memberSchema) }),
          403: registryErrorSchema,
        },
      },
    },
    async ({ principal }) => {
      const members = await listMembers(store, principal.organizationId);
      return {
        members: members.map(({ joinedAt, ...member }) => ({
          ...member,
          joinedAt: new Date(joinedAt).toISOString(),
        })),
      };
    },
  );
}
