import { z } from 'zod';
import type { Invitation } from '../../identity/members/invitations.ts';
import { roles } from '../../identity/members/role.ts';

export const organizationParams = z.object({ orgId: z.string() });

export const apiKeySchema = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    createdAt: z.string().meta({ description: 'ISO 8601' }),
    lastUsedAt: z
      .string()
      .nullable()
      .meta({ description: 'ISO 8601, to the minute; null until its first use' }),
    userId: z
      .string()
      .nullable()
      .meta({ description: 'The member whose key it is; null for one of the organization itself' }),
  })
  .meta({ id: 'ApiKey' });

export const roleSchema = z.enum(roles);

export const memberParams = organizationParams.extend({ userId: z.string() });

export const memberSchema = z
  .strictObject({
    userId: z.string(),
    name: z.string(),
    email: z.string().nullable(),
    role: roleSchema,
    joinedAt: z.string().meta({ description: 'ISO 8601' }),
  })
  .meta({ id: 'Member' });

const invitationFields = {
  id: z.string(),
  role: roleSchema,
  createdAt: z.string().meta({ description: 'ISO 8601' }),
  expiresAt: z.string().meta({ description: 'ISO 8601' }),
};

export const invitationSchema = z.strictObject(invitationFields).meta({ id: 'Invitation' });

export const createdInvitationSchema = z
  .strictObject({
    ...invitationFields,
    url: z.url().meta({ description: 'For one person, once; shown nowhere else' }),
  })
  .meta({ id: 'CreatedInvitation' });

/** An invitation in the API's shape. */
export function presentInvitation({
  id,
  role,
  createdAt,
  expiresAt,
}: Invitation): z.infer<typeof invitationSchema> {
  return {
    id,
    role,
    createdAt: new Date(createdAt).toISOString(),
    expiresAt: new Date(expiresAt).toISOString(),
  };
}
