import { z } from 'zod';

/** Upstream inputs by place, as the Connect API names them (seed: CredentialProfileHttp). */
const inputFieldSchema = z
  .strictObject({ label: z.string(), description: z.string().optional(), required: z.boolean().optional() })
  .meta({ id: 'HttpInputField' });

const credentialProfileSchema = z
  .strictObject({
    headers: z.record(z.string(), inputFieldSchema).optional(),
    query: z.record(z.string(), inputFieldSchema).optional(),
  })
  .meta({ id: 'CredentialProfileHttp' });

/**
 * The last known state of a connection (seed: ConnectionStatus). `auth_required`, `input_required` and
 * `disconnected` belong to logins, setup pages and uplinks; nothing sets them yet.
 */
export const statusSchema = z
  .discriminatedUnion('state', [
    z.strictObject({ state: z.literal('connected') }),
    z.strictObject({ state: z.literal('disconnected') }),
    z.strictObject({
      state: z.literal('auth_required'),
      setupUrl: z.url().optional(),
      authorizationUrl: z.url().optional().meta({ deprecated: true }),
    }),
    z.strictObject({
      state: z.literal('input_required'),
      setupUrl: z.url().optional(),
      http: credentialProfileSchema,
      missing: z.strictObject({ headers: z.array(z.string()), query: z.array(z.string()) }),
    }),
    z.strictObject({ state: z.literal('error'), message: z.string() }),
  ])
  .meta({ id: 'ConnectionStatus', description: 'Last known connection status' });

export type Status = z.infer<typeof statusSchema>;
