import { z } from 'zod';

export const namespaceSchema = z
  .strictObject({ name: z.string(), createdAt: z.string().meta({ description: 'ISO 8601' }) })
  .meta({ id: 'Namespace' });

export const paginationSchema = z
  .strictObject({
    currentPage: z.int(),
    pageSize: z.int(),
    totalPages: z.int(),
    totalCount: z.int(),
  })
  .meta({ id: 'Pagination' });

export const nameParams = z.object({ name: z.string() });

/** A positive whole number in a query string, up to `max`. */
export function countParameter(max: number) {
  return z
    .string()
    .regex(/^\d{1,9}$/, `must be a whole number from 1 to ${max}`)
    .transform(Number)
    .pipe(z.number().min(1).max(max));
}

export const flagParameter = z.enum(['0', '1', 'true', 'false']);
