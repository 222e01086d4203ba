import { z } from 'zod';
import { ApiError } from '../platform/errors.ts';
import type { Limits } from '../platform/limits.ts';
import type { Store } from '../platform/store/store.ts';
import { lockNamespace } from './lock-namespace.ts';
import { returnUrlProblem } from './return-url.ts';

const limitNames = [
  'namespaceRequestsPerMinute',
  'connectionRequestsPerMinute',
  'namespaceOpenCalls',
  'connectionOpenCalls',
  'connectionsPerNamespace',
] as const satisfies (keyof Limits)[];

/** What a namespace allows itself, where that is less than the operator's limits (limits.ts) do. */
export type NamespaceLimits = { [name in (typeof limitNames)[number]]?: number | undefined };

const limitSchema = z.int().positive().optional();
const limitsSchema = z
  .strictObject({
    namespaceRequestsPerMinute: limitSchema.meta({ description: 'Requests a minute, of all callers.' }),
    connectionRequestsPerMinute: limitSchema.meta({ description: 'Calls a minute, of each connection.' }),
    namespaceOpenCalls: limitSchema.meta({ description: 'Calls under way, open streams included.' }),
    connectionOpenCalls: limitSchema.meta({ description: 'Calls under way, of each connection.' }),
    connectionsPerNamespace: limitSchema.meta({ description: 'Connections; more are refused.' }),
  } satisfies Record<(typeof limitNames)[number], unknown>)
  .meta({ description: 'Lower limits than those of the server; what is left out is the server’s.' });

/** The settings of a namespace, as they are stored and as the API shows them. */
export const namespaceSettingsSchema = z
  .strictObject({
    returnUrls: z.array(z.string()).meta({
      description:
        'Where people may be sent back to after setup: same origin, same path or below. https://, or http:// on loopback.',
      examples: [['https://app.example.com/integrations']],
    }),
    limits: limitsSchema,
    quarantine: z.boolean().meta({
      description:
        'Whether tools that are new or have changed are kept from callers until they are accepted.',
    }),
    auditDetail: z.boolean().meta({
      description:
        'Whether the audit keeps what calls of tools, prompts and resources ask and answer, without what looks like a secret.',
    }),
  })
  .meta({ id: 'NamespaceSettings' });

export const namespaceSettingsPatchSchema = namespaceSettingsSchema.partial();

export type NamespaceSettings = z.infer<typeof namespaceSettingsSchema>;
export type NamespaceSettingsPatch = z.infer<typeof namespaceSettingsPatchSchema>;

/** The settings of namespace `name`. Throws ApiError `namespace_not_found`. */
export async function readNamespaceSettings(store: Store, name: string): Promise<NamespaceSettings> {
  const row = await store.db
    .selectFrom('namespaces')
    .select('settings')
    .where('name', '=', name)
    .executeTakeFirst();
  if (!row) throw new ApiError('namespace_not_found');
  return parseSettings(row.settings);
}

/**
 * Changes the settings that `patch` names, each as a whole, and returns all of them. Throws ApiError
 * `validation_error`, and `namespace_not_found` if the organization has no such namespace (any more).
 */
export async function patchNamespaceSettings(
  { store, limits }: { store: Store; limits: Limits },
  organizationId: string,
  name: string,
  patch: NamespaceSettingsPatch,
): Promise<NamespaceSettings> {
  const checked = {
    ...(patch.returnUrls && { returnUrls: checkReturnUrls(patch.returnUrls, limits) }),
    ...(patch.limits && { limits: checkLimits(patch.limits, limits) }),
    ...(patch.quarantine !== undefined && { quarantine: patch.quarantine }),
    ...(patch.auditDetail !== undefined && { auditDetail: patch.auditDetail }),
  };
  return store.write(async (transaction, stale) => {
    const row = await lockNamespace(transaction, name);
    if (row?.organization_id !== organizationId) throw new ApiError('namespace_not_found');
    const settings = { ...parseSettings(row.settings), ...checked };
    await transaction
      .updateTable('namespaces')
      .set({ settings: JSON.stringify(settings) })
      .where('name', '=', name)
      .execute();
    stale(`namespace:${name}`);
    return settings;
  });
}

/** Settings that were never set, or did not exist yet when the row was written, have their first values. */
export function parseSettings(stored: string | null): NamespaceSettings {
  const first = { returnUrls: [], limits: {}, quarantine: false, auditDetail: false };
  return { ...first, ...(stored === null ? {} : JSON.parse(stored)) };
}

/** A namespace may be stricter than the server, not laxer. */
function checkLimits(given: NamespaceLimits, limits: Limits): NamespaceLimits {
  for (const name of limitNames) {
    const most = limits[name];
    if ((given[name] ?? 0) > most)
      refuse(`limits.${name}`, `must be at most ${most}, which the server allows`);
  }
  return given;
}

/** The URLs in the form in which they are compared: WHATWG `href`. */
function checkReturnUrls(urls: readonly string[], limits: Limits): string[] {
  if (urls.length > limits.returnUrlsPerNamespace) {
    refuse('returnUrls', `must have at most ${limits.returnUrlsPerNamespace} entries`);
  }
  return urls.map((text, index) => {
    const problem = returnUrlProblem(text);
    if (problem) refuse(`returnUrls.${index}`, problem);
    const { href } = new URL(text);
    if (href.length > limits.urlChars) {
      refuse(`returnUrls.${index}`, `must be at most ${limits.urlChars} characters`);
    }
    return href;
  });
}

function refuse(field: string, problem: string): never {
  throw new ApiError('validation_error', { message: `${field}: ${problem}.` });
}
