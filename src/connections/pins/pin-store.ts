import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Tool } from '../../mcp/lists.ts';
import { ApiError } from '../../platform/errors.ts';
import { isMissingReference } from '../../platform/store/store.ts';
import type { Connection } from '../connection.ts';
import type { ConnectionsDeps } from '../deps.ts';
import { announce } from '../webhooks/announce.ts';
import { canonicalHash } from './canonical-hash.ts';
import { accept, type Change, driftOf, newChanges, type Pins, type SeenTool } from './drift.ts';

/** What of a connection's tools is accepted, and how they have changed since. */
export interface PinStore {
  /**
   * Holds a whole list of tools against what is pinned; the first list of a connection is pinned as it is. What has newly
   * changed is stored, logged and announced, once. Synchronous where the list is as it was when it was last seen.
   */
  see(connection: Connection, tools: readonly Tool[]): Pins | Promise<Pins>;
  /** What is pinned; undefined before a list was seen. */
  find(uid: string): Promise<Pins | undefined>;
  /**
   * Accepts the changes of these tools, or all. `revision` is the one that was looked at. Throws ApiError `pins_changed` if it
   * is not that any more, `validation_error` for a name that has not changed.
   */
  accept(uid: string, names: readonly string[] | undefined, revision: number | undefined): Promise<Pins>;
}

/** What was seen last of a connection: the digest of its list, and the pins that it was held against. */
interface Seen {
  digest: string;
  pins: Pins;
}

/** Builds it with an empty memory of at most `recordCacheEntries` connections. */
export function createPinStore(deps: ConnectionsDeps): PinStore {
  const { store, clock, limits, log } = deps;
  const remembered = new LRUCache<string, Seen>({
    max: limits.recordCacheEntries,
    ttl: limits.recordCacheMs,
  });
  // Pins read before a change must not be remembered after it.
  let changed = 0;
  store.onStale((key) => {
    if (key !== null && !key.startsWith('pins:')) return;
    changed++;
    if (key === null) remembered.clear();
    else remembered.delete(key.slice('pins:'.length));
  });

  async function find(uid: string): Promise<Pins | undefined> {
    const row = await store.db
      .selectFrom('pins')
      .select(['revision', 'tools', 'changes'])
      .where('connection_uid', '=', uid)
      .executeTakeFirst();
    return row && { revision: row.revision, tools: mapOf(row.tools), changes: JSON.parse(row.changes) };
  }

  /** False if somebody else was first, or the connection is gone. */
  async function insert(uid: string, pins: Pins): Promise<boolean> {
    try {
      return await store.write(async (transaction, stale) => {
        stale(`pins:${uid}`);
        const inserted = await transaction
          .insertInto('pins')
          .values({ connection_uid: uid, ...columnsOf(pins) })
          .onConflict((conflict) => conflict.doNothing())
          .executeTakeFirst();
        return (inserted.numInsertedOrUpdatedRows ?? 0n) > 0n;
      });
    } catch (error) {
      if (isMissingReference(error)) return false;
      throw error;
    }
  }

  /** Writes `next` over `before`, and `also` with it; false if somebody else has written meanwhile. */
  async function replace(
    uid: string,
    before: Pins,
    next: Pins,
    also?: (transaction: Parameters<Parameters<typeof store.write>[0]>[0]) => Promise<void>,
  ): Promise<boolean> {
    return store.write(async (transaction, stale) => {
      const updated = await transaction
        .updateTable('pins')
        .set(columnsOf(next))
        .where('connection_uid', '=', uid)
        .where('revision', '=', before.revision)
        .executeTakeFirst();
      if (updated.numUpdatedRows === 0n) return false;
      stale(`pins:${uid}`);
      await also?.(transaction);
      return true;
    });
  }

  async function hold(connection: Connection, tools: readonly Tool[], digest: string): Promise<Pins> {
    const { uid } = connection;
    const seen = seenTools(tools);
    for (;;) {
      const readAt = changed;
      const before = await find(uid);
      if (!before) {
        const first = { revision: 1, tools: hashesOf(seen), changes: [] };
        if (await insert(uid, first)) return first;
        // It is there now, or the connection is gone, whose tools nobody pins.
        if (!(await find(uid))) return first;
        continue;
      }
      const changes = withinRoom(driftOf(before, seen, clock.now()), limits.pinDefinitionsBytes);
      const fresh = newChanges(before.changes, changes);
      if (fresh.length === 0 && changes.length === before.changes.length) {
        if (readAt === changed) remembered.set(uid, { digest, pins: before });
        return before;
      }
      const next = { ...before, revision: before.revision + 1, changes };
      let isAnnounced = false;
      const isWritten = await replace(uid, before, next, async (transaction) => {
        if (fresh.length > 0) isAnnounced = await tell(transaction, connection, fresh);
      });
      if (!isWritten) continue;
      if (isAnnounced) deps.wakeCourier();
      if (fresh.length > 0) {
        const { namespace, id: connectionId } = connection;
        log.warn({ namespace, connectionId, tools: namesOf(fresh) }, 'connection.tools_changed');
      }
      return next;
    }
  }

  function tell(
    transaction: Parameters<typeof announce>[1],
    connection: Connection,
    fresh: readonly Change[],
  ): Promise<boolean> {
    return announce(deps, transaction, 'connection.tools_changed', connection, { tools: namesOf(fresh) });
  }

  return {
    find,
    see(connection, tools) {
      const digest = hash('sha256', JSON.stringify(tools), 'base64url');
      const known = remembered.get(connection.uid);
      return known?.digest === digest ? known.pins : hold(connection, tools, digest);
    },
    async accept(uid, names, revision) {
      for (;;) {
        const before = await find(uid);
        if (!before || (revision !== undefined && revision !== before.revision)) {
          throw new ApiError('pins_changed');
        }
        const changedNames = new Set(before.changes.map(({ name }) => name));
        const unknown = names?.find((name) => !changedNames.has(name));
        if (unknown !== undefined) {
          throw new ApiError('validation_error', {
            message: `tools: "${unknown.slice(0, 100)}" has not changed.`,
          });
        }
        const next = accept(before, names && new Set(names));
        if (await replace(uid, before, next)) return next;
      }
    },
  };
}

/** Names of tools by how they changed. */
function namesOf(changes: readonly Change[]): Record<Change['kind'], string[]> {
  const names: Record<Change['kind'], string[]> = { added: [], changed: [], removed: [] };
  for (const { kind, name } of changes) names[kind].push(name);
  return names;
}

function seenTools(tools: readonly Tool[]): Map<string, SeenTool> {
  const byName = new Map<string, Tool[]>();
  for (const tool of tools) byName.set(tool.name, [...(byName.get(tool.name) ?? []), tool]);
  return new Map(
    [...byName].map(([name, same]) => {
      // A name that a server gives twice stands for both.
      const definition = same.length === 1 ? same[0] : same;
      return [name, { hash: canonicalHash(definition), definition }];
    }),
  );
}

function hashesOf(seen: ReadonlyMap<string, SeenTool>): Map<string, string> {
  return new Map([...seen].map(([name, { hash }]) => [name, hash]));
}

/** Definitions are kept for a person to read as long as there is room; the hash is always there. */
function withinRoom(changes: readonly Change[], bytes: number): Change[] {
  let left = bytes;
  return changes.map(({ definition, ...change }) => {
    if (definition === undefined) return change;
    left -= Buffer.byteLength(JSON.stringify(definition));
    return left < 0 ? change : { ...change, definition };
  });
}

function columnsOf({ revision, tools, changes }: Pins) {
  return { revision, tools: JSON.stringify([...tools]), changes: JSON.stringify(changes) };
}

function mapOf(text: string): Map<string, string> {
  return new Map(JSON.parse(text) as [string, string][]);
}
