import { z } from 'zod';

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
  })
  .meta({ id: 'ApiKey' });
