import { z } from 'zod';

/** Errors of the Connect API (api.md §2). */
export const errorSchema = z
  .strictObject({ error: z.string().meta({ examples: ['not_found'] }), message: z.string() })
  .meta({ id: 'Error' });

export const validationErrorSchema = z
  .strictObject({ error: z.literal('validation_error'), message: z.string() })
  .meta({ id: 'ValidationError' });

/** Errors of the registry. */
export const registryErrorSchema = z.strictObject({ error: z.string() }).meta({ id: 'RegistryError' });
