import { hash } from 'node:crypto';
import type { Tool } from '../../mcp/lists.ts';
import { createBoundedCache } from '../../platform/bounded-cache.ts';
import { ApiError } from '../../platform/errors.ts';
import { isMissingReference } from '../../platform/store/store.ts';
import type { Connection } from '../connection.ts';
import type { ConnectionsDeps } from '../deps.ts';
import { announce } from '../webhooks/announce.ts';
import { canonicalHash } from './canonical-hash.ts';
import {
  type Accepted,
  accept,
  type Change,
  driftOf,
  newChanges,
  type Pins,
  type SeenTool,
} from './drift.ts';
import { holdInstructions } from './instructions.ts';

/** What of a connection's tools is accepted, and how they have changed since. */
export interface PinStore {
  /**
   * Holds a whole list of tools, and the instructions that the connection has, against what is pinned; the first of each is pinned as it is. What has newly
   * changed is stored, logged and announced, once. Synchronous where the list is as it was when it was last seen.
   */
  see(connection: Connection, tools: readonly Tool[]): Pins | Promise<Pins>;
  /** What is pinned; undefined before a list was seen. */
  find(uid: string): Promise<Pins | undefined>;
  /**
   * Accepts changes. `revision` is the one that was looked at. Throws ApiError `pins_changed` if it is not that any more,
   * `validation_error` for what has not changed.
   */
  accept(uid: string, accepted: Accepted, revision: number | undefined): Promise<Pins>;
}

/** What was seen last of a connection: the digest of its list, and the pins that it was held against. */
interface Seen {
  digest: string;
  pins: Pins;
}

/** Builds it with an empty memory of at most `recordCacheEntries` connections. */
export function createPinStore(deps: ConnectionsDeps): PinStore {
  const { store, clock, limits, log } = deps;
  const remembered = createBoundedCache<Seen>(limits.recordCacheEntries, { ttl: limits.recordCacheMs });
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
      .select(['revision', 'tools', 'changes', 'instructions'])
      .where('connection_uid', '=', uid)
      .executeTakeFirst();
    if (!row) return undefined;
    const { revision, tools, changes, instructions } = row;
    return {
      revision,
      tools: mapOf(tools),
      changes: JSON.parse(changes),
      instructions: instructions === null ? undefined : JSON.parse(instructions),
    };
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
        const instructions = holdInstructions(undefined, connection.instructions, clock.now());
        const first = { revision: 1, tools: hashesOf(seen), changes: [], instructions };
        if (await insert(uid, first)) return first;
        // It is there now, or the connection is gone, whose tools nobody pins.
        if (!(await find(uid))) return first;
        continue;
      }
      const changes = withinRoom(driftOf(before, seen, clock.now()), limits.pinDefinitionsBytes);
      const fresh = newChanges(before.changes, changes);
      const instructions = holdInstructions(before.instructions, connection.instructions, clock.now());
      const isSame = JSON.stringify(instructions) === JSON.stringify(before.instructions);
      if (fresh.length === 0 && changes.length === before.changes.length && isSame) {
        if (readAt === changed) remembered.set(uid, { digest, pins: before });
        return before;
      }
      const next = { ...before, revision: before.revision + 1, changes, instructions };
      const isTold = fresh.length > 0 || (!isSame && instructions?.change !== undefined);
      const what = { tools: namesOf(fresh), instructions: !isSame && instructions?.change !== undefined };
      let isAnnounced = false;
      const isWritten = await replace(uid, before, next, async (transaction) => {
        if (isTold) {
          isAnnounced = await announce(deps, transaction, 'connection.tools_changed', connection, what);
        }
      });
      if (!isWritten) continue;
      if (isAnnounced) deps.wakeCourier();
      if (isTold) {
        const { namespace, id: connectionId } = connection;
        log.warn({ namespace, connectionId, ...what }, 'connection.tools_changed');
      }
      return next;
    }
  }

  return {
    find,
    see(connection, tools) {
      const seen = JSON.stringify([tools, connection.instructions?.hash]);
      const digest = hash('sha256', seen, 'base64url');
      const known = remembered.get(connection.uid);
      return known?.digest === digest ? known.pins : hold(connection, tools, digest);
    },
    async accept(uid, accepted, revision) {
      for (;;) {
        const before = await find(uid);
        if (!before || (revision !== undefined && revision !== before.revision)) {
          throw new ApiError('pins_changed');
        }
        if (accepted !== 'all') requireChanges(before, accepted);
        const next = accept(before, accepted);
        if (await replace(uid, before, next)) return next;
      }
    },
  };
}

/** Throws ApiError `validation_error` for what has not changed. */
function requireChanges(pins: Pins, { tools, instructions }: Exclude<Accepted, 'all'>): void {
  const changed = new Set(pins.changes.map(({ name }) => name));
  const unknown = [...tools].find((name) => !changed.has(name));
  if (unknown !== undefined) {
    throw new ApiError('validation_error', { message: `tools: "${unknown.slice(0, 100)}" has not changed.` });
  }
  if (instructions && !pins.instructions?.change) {
    throw new ApiError('validation_error', { message: 'instructions: they have not changed.' });
  }
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

function columnsOf({ revision, tools, changes, instructions }: Pins) {
  return {
    revision,
    tools: JSON.stringify([...tools]),
    changes: JSON.stringify(changes),
    instructions: instructions ? JSON.stringify(instructions) : null,
  };
}

function mapOf(text: string): Map<string, string> {
  return new Map(JSON.parse(text) as [string, string][]);
}
