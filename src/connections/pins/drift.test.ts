import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalHash } from './canonical-hash.ts';
import { accept, driftOf, newChanges, type Pins, type SeenTool } from './drift.ts';

const seen = (tools: Record<string, string>): Map<string, SeenTool> =>
  new Map(Object.entries(tools).map(([name, hash]) => [name, { hash, definition: { name } }]));
const pins = (tools: Record<string, string>, changes: Pins['changes'] = []): Pins => ({
  revision: 1,
  tools: new Map(Object.entries(tools)),
  changes,
  instructions: undefined,
});
const brief = (changes: Pins['changes']) => changes.map(({ name, kind, since }) => [name, kind, since]);

describe('drift', () => {
  it('is what was added, changed and removed, since it was first seen so', () => {
    const pinned = pins({ same: 'a', other: 'b', gone: 'c' });
    const first = driftOf(pinned, seen({ same: 'a', other: 'x', fresh: 'n' }), 10);
    expect(brief(first)).toEqual([
      ['other', 'changed', 10],
      ['fresh', 'added', 10],
      ['gone', 'removed', 10],
    ]);
    const later = { ...pinned, changes: first };
    const second = driftOf(later, seen({ same: 'a', other: 'y', fresh: 'n' }), 20);
    expect(brief(second)).toEqual([
      ['other', 'changed', 20],
      ['fresh', 'added', 10],
      ['gone', 'removed', 10],
    ]);
    expect(brief(newChanges(first, second))).toEqual([['other', 'changed', 20]]);
    expect(driftOf(later, seen({ same: 'a', other: 'b', gone: 'c' }), 30)).toEqual([]);
  });

  it('is accepted tool by tool, or as a whole, and is none then', () => {
    const tools = fc.dictionary(fc.string({ minLength: 1, maxLength: 8 }), fc.constantFrom('a', 'b', 'c'), {
      noNullPrototype: true,
    });
    fc.assert(
      fc.property(tools, tools, fc.func(fc.boolean()), (before, after, isChosen) => {
        const pinned = pins(before);
        const now = seen(after);
        const drifted = { ...pinned, changes: driftOf(pinned, now, 1) };
        expect(driftOf(accept(drifted, 'all'), now, 2)).toEqual([]);
        const chosen = new Set(drifted.changes.map(({ name }) => name).filter((name) => isChosen(name)));
        const left = accept(drifted, { tools: chosen, instructions: false });
        expect(driftOf(left, now, 2)).toEqual(drifted.changes.filter(({ name }) => !chosen.has(name)));
        expect(left.revision).toBe(2);
      }),
    );
  });
});

describe('the hash of a definition', () => {
  it('does not depend on the order of its members', () => {
    const reversed = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(reversed);
      if (typeof value !== 'object' || value === null) return value;
      return Object.fromEntries(
        Object.entries(value)
          .reverse()
          .map(([key, inner]) => [key, reversed(inner)]),
      );
    };
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(canonicalHash(reversed(value))).toBe(canonicalHash(value));
      }),
    );
  });

  it('changes with anything in it', () => {
    const tool = { name: 't', description: 'Adds.', inputSchema: { type: 'object' } };
    const others = [
      { ...tool, description: 'Adds. \u200b' },
      { ...tool, inputSchema: { type: 'object', required: [] } },
      { ...tool, annotations: { readOnlyHint: true } },
      { ...tool, _meta: {} },
    ];
    expect(new Set([tool, ...others].map(canonicalHash)).size).toBe(5);
  });
});
