import { z } from 'zod';
import type { Pins } from '../../../connections/pins/drift.ts';
import type { InstructionsPin } from '../../../connections/pins/instructions.ts';

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
    instructions: z
      .strictObject({
        hash: z.string().nullable().meta({ description: 'What is accepted; null for none.' }),
        change: z
          .strictObject({
            since: z.string().meta({ description: 'ISO 8601' }),
            hash: z.string().nullable(),
            text: z
              .string()
              .optional()
              .meta({ description: 'As they are now, where there was room to keep it.' }),
          })
          .optional(),
      })
      .nullable()
      .meta({ description: 'What the server tells models about itself; null before it was asked.' }),
  })
  .meta({ id: 'Pins' });

/** Pins in the API's shape. */
export function presentPins(pins: Pins | undefined): z.infer<typeof pinsSchema> {
  if (!pins) return { revision: 0, tools: [], changes: [], instructions: null };
  const { revision, tools, changes, instructions } = pins;
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
    instructions: instructions ? presentInstructions(instructions) : null,
  };
}

function presentInstructions({ hash, change }: InstructionsPin): z.infer<typeof pinsSchema>['instructions'] {
  return { hash, ...(change && { change: { ...change, since: new Date(change.since).toISOString() } }) };
}
