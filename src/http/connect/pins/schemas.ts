import { z } from 'zod';
import type { Pins } from '../../../connections/pins/drift.ts';

export const pinsSchema = z
  .strictObject({
    revision: z.int().meta({ description: 'Grows with each change; 0 before the tools were ever listed.' }),
    tools: z.array(z.strictObject({ name: z.string(), hash: z.string() })).meta({
      description:
        'What is accepted: SHA-256 of the canonical JSON (RFC 8785) of each definition, in base64url.',
    }),
    changes: z.array(
      z.strictObject({
        name: z.string(),
        kind: z.enum(['added', 'changed', 'removed']),
        since: z.string().meta({ description: 'ISO 8601' }),
        hash: z.string().optional(),
        pinnedHash: z.string().optional(),
        definition: z
          .unknown()
          .optional()
          .meta({ description: 'As it is now, where there was room to keep it.' }),
      }),
    ),
  })
  .meta({ id: 'Pins' });

/** Pins in the API's shape. */
export function presentPins(pins: Pins | undefined): z.infer<typeof pinsSchema> {
  if (!pins) return { revision: 0, tools: [], changes: [] };
  const { revision, tools, changes } = pins;
  return {
    revision,
    tools: [...tools].map(([name, hash]) => ({ name, hash })),
    changes: changes.map(({ since, ...change }) => {
      const pinnedHash = tools.get(change.name);
      return {
        ...change,
        since: new Date(since).toISOString(),
        ...(pinnedHash !== undefined && { pinnedHash }),
      };
    }),
  };
}
