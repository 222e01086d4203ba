import type { App, HttpDeps } from '../deps.ts';
import { changeMemberRoute } from './change-member.ts';
import { createApiKeyRoute } from './create-api-key.ts';
import { createInvitationRoute } from './create-invitation.ts';
import { listApiKeysRoute } from './list-api-keys.ts';
import { listInvitationsRoute } from './list-invitations.ts';
import { listMembersRoute } from './list-members.ts';
import { listOrganizationsRoute } from './list-organizations.ts';
import { removeMemberRoute } from './remove-member.ts';
import { revokeApiKeyRoute } from './revoke-api-key.ts';
import { revokeInvitationRoute } from './revoke-invitation.ts';

/** Organizations: their API keys, members and invitations. */
export function organizationRoutes(app: App, deps: HttpDeps, publicUrl: () => URL): void {
  listOrganizationsRoute(app, deps);
  createApiKeyRoute(app, deps);
  listApiKeysRoute(app, deps);
  revokeApiKeyRoute(app, deps);
  listMembersRoute(app, deps);
  changeMemberRoute(app, deps);
  removeMemberRoute(app, deps);
  createInvitationRoute(app, deps, publicUrl);
  listInvitationsRoute(app, deps);
  revokeInvitationRoute(app, deps);
}
