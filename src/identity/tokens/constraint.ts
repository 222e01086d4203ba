import { z } from 'zod';
import type { RequestMatch } from './request-match.ts';

export const resources = ['connections', 'servers', 'namespaces', 'skills'] as const;
export const operations = ['read', 'write', 'execute'] as const;

export type Resource = (typeof resources)[number];
export type Operation = (typeof operations)[number];

/** One value or several of them; several mean any of them. */
const oneOrMore = <T extends z.ZodType>(value: T) => z.union([value, z.array(value).min(1)]);

/** An empty map would match everything; whoever sends one most likely lost a value on the way. */
const pairsSchema = z.record(z.string(), z.string()).refine((pairs) => Object.keys(pairs).length > 0, {
  message: 'must have at least one pair',
});

/** A constraint as the API takes it (api.md §6). */
export const constraintSchema = z
  .strictObject({
    namespaces: oneOrMore(z.string().min(1).max(39))
      .optional()
      .meta({
        description: 'Where it counts; everywhere by default.',
        examples: ['acme'],
      }),
    resources: oneOrMore(z.enum(resources)).optional(),
    operations: oneOrMore(z.enum(operations)).optional(),
    metadata: oneOrMore(pairsSchema)
      .optional()
      .meta({
        description:
          'Connections with all these pairs; of a list, with all pairs of one of its entries. Such a constraint is about connections alone.',
        examples: [{ userId: 'user123' }],
      }),
    rpcReqMatch: z
      .record(z.string().max(200), z.string().max(500))
      .refine((patterns) => Object.keys(patterns).length > 0, { message: 'must have at least one path' })
      .optional()
      .meta({
        description:
          'Dot paths into the JSON-RPC request, each with a regular expression (RE2) that its value has to match. Such a constraint is about executing alone.',
        examples: [{ method: '^tools/call$', 'params.name': '^get_' }],
      }),
    ttl: z
      .union([z.number(), z.string()])
      .optional()
      .meta({
        description: 'Seconds, or "20s", "30m", "1h". 1 hour by default, at most 24 hours.',
        examples: ['1h'],
      }),
  })
  .meta({ id: 'Constraint' });

export type ConstraintRequest = z.infer<typeof constraintSchema>;

/** A constraint as tokens carry it: fields that are there all have to match, lists are sorted. */
export interface Constraint {
  namespaces?: readonly string[];
  resources?: readonly Resource[];
  operations?: readonly Operation[];
  /** Alternatives, each of pairs that all have to match. */
  metadata?: readonly Readonly<Record<string, string>>[];
  rpcReqMatch?: RequestMatch;
}

/** What a token was minted with: one of its constraints has to match. */
export type Policy = readonly Constraint[];

/** A policy as it travels: JSON. */
export type PolicyClaim = readonly (Omit<Constraint, 'rpcReqMatch'> & {
  rpcReqMatch?: Readonly<Record<string, string>>;
})[];
