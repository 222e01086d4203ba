import { z } from 'zod';

/** Query parameters of a list in pages; `cursor` is `nextCursor` of the page before. */
export const pageParameters = {
  limit: z
    .string()
    .regex(/^\d{1,4}$/, 'must be a whole number from 1 to 100')
    .transform(Number)
    .pipe(z.number().min(1).max(100))
    .optional()
    .meta({ description: 'Page size, 1 to 100; 100 by default.' }),
  cursor: z.string().optional().meta({ description: '`nextCursor` of the page before.' }),
};
