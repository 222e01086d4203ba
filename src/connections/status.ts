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
 * The last known state of a connection (seed: ConnectionStatus). Stored without URLs: a setup ticket is made for each
 * reader (setup/ticket.ts). `disconnected` belongs to uplinks alone: no machine is paired.
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

/** A status in which the user of the connection must act first; its upstream is not called meanwhile. */
export type WaitingStatus = Extract<Status, { state: 'auth_required' | 'input_required' }>;

/** Whether the connection waits for its user. */
export function isWaiting(status: Status): status is WaitingStatus {
  return status.state === 'auth_required' || status.state === 'input_required';
}
