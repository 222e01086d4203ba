import { z } from 'zod';
import type { Limits } from '../platform/limits.ts';
import type { TimeLimits } from '../upstream/target.ts';

const descriptions = {
  callTimeoutMs: 'Time for the first byte of an answer, and for the whole of one that is a JSON document.',
  idleTimeoutMs: 'Silence allowed on an answer that is an event stream.',
  maxCallMs: 'Longest time for an answer, however it comes.',
};

/** The settings of a connection, as the API shows them: milliseconds, null where the default counts. */
export const connectionSettingsSchema = z
  .strictObject({
    callTimeoutMs: z
      .int()
      .nullable()
      .meta({ description: descriptions.callTimeoutMs, examples: [600_000] }),
    idleTimeoutMs: z.int().nullable().meta({ description: descriptions.idleTimeoutMs }),
    maxCallMs: z.int().nullable().meta({ description: descriptions.maxCallMs }),
  })
  .meta({ id: 'ConnectionSettings' });

export type ConnectionSettings = z.infer<typeof connectionSettingsSchema>;

/** What a PATCH takes: any of the settings within their bounds; null goes back to the default. */
export function connectionSettingsPatchSchema(limits: Limits) {
  const setting = (name: keyof ConnectionSettings, maxMs: number) =>
    z
      .int()
      .min(limits.timeSettingMinMs)
      .max(maxMs)
      .nullable()
      .optional()
      .meta({ description: `${descriptions[name]} ${limits[name]} by default.` });
  return z.strictObject({
    callTimeoutMs: setting('callTimeoutMs', limits.callTimeoutMaxMs),
    idleTimeoutMs: setting('idleTimeoutMs', limits.idleTimeoutMaxMs),
    maxCallMs: setting('maxCallMs', limits.maxCallMaxMs),
  });
}

export type ConnectionSettingsPatch = z.infer<ReturnType<typeof connectionSettingsPatchSchema>>;

/** The time limits of a connection's calls. Without a first byte no wait is longer than the whole answer may take. */
export function timeLimitsOf(settings: ConnectionSettings, limits: Limits): TimeLimits {
  const maxCallMs = settings.maxCallMs ?? limits.maxCallMs;
  return {
    callTimeoutMs: Math.min(settings.callTimeoutMs ?? limits.callTimeoutMs, maxCallMs),
    idleTimeoutMs: settings.idleTimeoutMs ?? limits.idleTimeoutMs,
    maxCallMs,
  };
}

/** The same where nothing is set. */
export function defaultTimeLimits(limits: Limits): TimeLimits {
  return timeLimitsOf({ callTimeoutMs: null, idleTimeoutMs: null, maxCallMs: null }, limits);
}
