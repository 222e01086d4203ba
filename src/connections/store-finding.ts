import type { Updateable } from 'kysely';
import { backoffMs } from '../platform/backoff.ts';
import type { ConnectionRow } from '../platform/store/schema.ts';
import { type Connection, fromRow } from './connection.ts';
import { type ConnectionsDeps, staleKey } from './deps.ts';
import type { MetadataGuard } from './metadata-guard.ts';
import type { Finding } from './probe.ts';
import { isWaiting, type Status } from './status.ts';
import { announce } from './webhooks/announce.ts';

/** The columns that a finding fills. `attempt` counts failed probes in a row, 0 for the first. */
export function findingColumns(
  finding: Pick<Finding, 'status' | 'at' | 'learned' | 'inputs' | 'login'>,
  attempt: number,
  { clock, limits }: Pick<ConnectionsDeps, 'clock' | 'limits'>,
) {
  const { learned, status, at, inputs, login } = finding;
  const isError = status.state === 'error';
  return {
    status: JSON.stringify(status),
    status_at: at,
    probe_at: isError ? clock.now() + backoffMs(attempt, limits.healMinMs, limits.healMaxMs) : null,
    probe_attempt: isError ? attempt + 1 : 0,
    // Kept until the connection works again: an upstream that fails right after the login is still recovering.
    ...(login && { login: JSON.stringify(login) }),
    ...(status.state === 'connected' && { login: null }),
    ...(inputs !== undefined && { inputs: inputs && JSON.stringify(inputs) }),
    ...(learned && {
      protocol: JSON.stringify(learned.protocol),
      server_info: learned.serverInfo ? JSON.stringify(learned.serverInfo) : null,
      icon_url: learned.iconUrl,
      instructions: JSON.stringify(learned.instructions),
    }),
  };
}

/** What else is written with a finding. */
export interface WithFinding {
  /** More columns of the row. */
  columns?: Updateable<ConnectionRow>;
  /** Whether evidence that came in later than this finding keeps its place. */
  unlessNewer: boolean;
  /** Whether a row that says so already is left alone, and one that waits for its user: a call cannot end that. */
  onlyChange?: boolean;
  /** Asked of the metadata as they are now: the probe took its time, in which somebody may have changed them. */
  guard?: MetadataGuard | undefined;
  /** Runs in the same transaction, once the row is written. */
  also?: (
    transaction: Parameters<Parameters<ConnectionsDeps['store']['write']>[0]>[0],
    row: Connection,
  ) => Promise<void>;
}

/**
 * Writes what was found about a connection, as long as the row still has the target that was looked at. Whoever
 * begins to wait for its user, or no longer does, is announced in the same transaction: once, whoever found it.
 * Throws what `guard` throws. Returns the connection as stored; undefined if somebody else's newer word stands.
 */
export async function storeFinding(
  deps: ConnectionsDeps,
  connection: Connection,
  found: { status: Status; columns: ReturnType<typeof findingColumns> },
  { columns, unlessNewer, onlyChange, guard, also }: WithFinding,
): Promise<Connection | undefined> {
  const { uid, namespace, id, targetVersion } = connection;
  for (;;) {
    const outcome = await deps.store.write(async (transaction, stale) => {
      const before = await transaction
        .selectFrom('connections')
        .select(['status', 'status_at', 'target_version', 'setup_epoch', 'login', 'metadata'])
        .where('uid', '=', uid)
        .executeTakeFirst();
      if (!before || before.target_version !== targetVersion) return 'superseded';
      if (unlessNewer && before.status_at > found.columns.status_at) return 'superseded';
      guard?.is(before.metadata === null ? null : JSON.parse(before.metadata));
      const was: Status = JSON.parse(before.status);
      if (onlyChange && (before.status === found.columns.status || isWaiting(was))) return 'superseded';
      const row = await transaction
        .updateTable('connections')
        .set({
          ...found.columns,
          ...columns,
          ...changeOfWaiting(was, found.status, columns?.target_version ?? targetVersion, before.setup_epoch),
        })
        .where('uid', '=', uid)
        .where('target_version', '=', targetVersion)
        .where('status', '=', before.status)
        .$if(guard !== undefined, (update) =>
          update.where('metadata', 'is not distinct from', before.metadata),
        )
        .returningAll()
        .executeTakeFirst();
      // Between the two somebody else wrote, which PostgreSQL lets happen.
      if (!row) return 'again';
      const stored = fromRow(row);
      await also?.(transaction, stored);
      stale(staleKey(namespace, id));
      const event = eventOf(was, found.status, before.login !== null);
      if (event) await announce(deps, transaction, event, stored);
      return { stored, event };
    });
    if (outcome === 'superseded') return undefined;
    if (outcome === 'again') continue;
    if (outcome.event) {
      deps.log.info({ event: outcome.event, namespace, connectionId: id }, 'the login of a connection');
      deps.wakeCourier();
    }
    return outcome.stored;
  }
}

/**
 * Beginning to wait for a login makes a new target: what calls under way still hear with the old credentials does not
 * count. Ceasing to wait voids the setup tickets and logins that are out (design §8, Setup tickets).
 */
function changeOfWaiting(was: Status, is: Status, targetVersion: number, setupEpoch: number) {
  return {
    ...(is.state === 'auth_required' &&
      was.state !== 'auth_required' && { target_version: targetVersion + 1 }),
    ...(isWaiting(was) && !isWaiting(is) && { setup_epoch: setupEpoch + 1 }),
  };
}

function eventOf(was: Status, is: Status, wasInNeedOfLogin: boolean) {
  if (is.state === 'auth_required' && was.state !== 'auth_required')
    return 'connection.auth_required' as const;
  if (is.state === 'connected' && wasInNeedOfLogin) return 'connection.recovered' as const;
  return undefined;
}
