import type { Clock } from '../../platform/clock.ts';
import type { Limits } from '../../platform/limits.ts';
import type { Store } from '../../platform/store/store.ts';

/** Notes that an API key, or a token that descends from it, was used now; what is noted is at most `keyUseNotedMs` old. */
export async function noteKeyUse(
  store: Store,
  clock: Clock,
  { keyUseNotedMs }: Limits,
  { id, last_used_at }: { id: string; last_used_at: number | null },
): Promise<void> {
  const now = clock.now();
  if (last_used_at !== null && now - last_used_at < keyUseNotedMs) return;
  await store.write((transaction) =>
    transaction.updateTable('api_keys').set({ last_used_at: now }).where('id', '=', id).execute(),
  );
}
