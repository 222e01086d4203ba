import type { InstructionsPin } from './instructions.ts';

/** Hashes of the definitions that are accepted, by the names of the tools. */
type Pinned = ReadonlyMap<string, string>;

/** How a tool is not as it was accepted. */
export interface Change {
  name: string;
  kind: 'added' | 'changed' | 'removed';
  /** When it was first seen so, in epoch milliseconds. */
  since: number;
  /** Of the definition as it is now; not of one that was removed. */
  hash?: string;
  /** The definition itself, as far as there is room for it. */
  definition?: unknown;
}

export interface Pins {
  /** Grows with each change of the rest. */
  revision: number;
  tools: Pinned;
  changes: readonly Change[];
  /** undefined while nobody has asked the server. */
  instructions: InstructionsPin | undefined;
}

/** A tool as it is listed now. */
export interface SeenTool {
  hash: string;
  definition: unknown;
}

/**
 * What differs from what is pinned, in the order in which the server lists it, what was removed last. A change that was known
 * keeps its time.
 */
export function driftOf(pins: Pins, seen: ReadonlyMap<string, SeenTool>, now: number): Change[] {
  const known = new Map(pins.changes.map((change) => [identity(change), change]));
  const changes: Change[] = [];
  const note = (change: Change) => {
    changes.push({ ...change, since: known.get(identity(change))?.since ?? now });
  };
  for (const [name, { hash, definition }] of seen) {
    const pinned = pins.tools.get(name);
    if (pinned === hash) continue;
    note({ name, kind: pinned === undefined ? 'added' : 'changed', since: now, hash, definition });
  }
  for (const name of pins.tools.keys()) {
    if (!seen.has(name)) note({ name, kind: 'removed', since: now });
  }
  return changes;
}

/** The changes of `changes` that were not among those of `before`. */
export function newChanges(before: readonly Change[], changes: readonly Change[]): Change[] {
  const known = new Set(before.map(identity));
  return changes.filter((change) => !known.has(identity(change)));
}

/** Which changes are accepted: all, or those of these tools, and of the instructions or not. */
export type Accepted = 'all' | { tools: ReadonlySet<string>; instructions: boolean };

/** The pins with these changes accepted. */
export function accept({ revision, tools, changes, instructions }: Pins, accepted: Accepted): Pins {
  const pinned = new Map(tools);
  const left = changes.filter(({ name, hash }) => {
    if (accepted !== 'all' && !accepted.tools.has(name)) return true;
    if (hash === undefined) pinned.delete(name);
    else pinned.set(name, hash);
    return false;
  });
  const isOther = instructions?.change && (accepted === 'all' || accepted.instructions);
  return {
    revision: revision + 1,
    tools: pinned,
    changes: left,
    instructions: isOther ? { hash: instructions.change?.hash ?? null } : instructions,
  };
}

function identity({ name, kind, hash }: Change): string {
  return JSON.stringify([name, kind, hash]);
}
