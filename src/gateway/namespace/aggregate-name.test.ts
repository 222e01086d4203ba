import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Address, aggregateName, connectionOfName, nameEntries } from './aggregate-name.ts';

/** Ids and names from few letters, where mistakes meet, and any text at all, lone surrogates included. */
const text = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', 'B', '.', '-', '_', '/', ' ', 'é'), maxLength: 6 }),
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.string({ unit: fc.constantFrom('\ud800', '\udfff', 'a'), maxLength: 4 }),
  fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 28, maxLength: 34 }),
);
const address: fc.Arbitrary<Address> = fc.record({ connectionId: text, own: text });
const isPlain = ({ connectionId, own }: Address) =>
  /^[A-Za-z0-9_-]+$/.test(connectionId) && connectionId.length + 1 + own.length <= 64;

describe('the name of a tool', () => {
  test('is connection, dot, tool where that is short and the id plain', () => {
    expect(aggregateName('github-1', 'search_issues')).toBe('github-1.search_issues');
    expect(aggregateName('a', 'repo.search')).toBe('a.repo.search');
    fc.assert(
      fc.property(address.filter(isPlain), ({ connectionId, own }) => {
        expect(aggregateName(connectionId, own)).toBe(`${connectionId}.${own}`);
        expect(connectionOfName(`${connectionId}.${own}`)).toBe(connectionId);
      }),
    );
  });

  test('is else an alias: readable, short, stable, and without the dot of a plain name', () => {
    expect(aggregateName('a.b/c', 'list')).toBe('a-b-c-list_06493f1e67c0d76fab12f12f89568793');
    fc.assert(
      fc.property(
        address.filter((entry) => !isPlain(entry)),
        ({ connectionId, own }) => {
          const name = aggregateName(connectionId, own);
          expect(name).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
          expect(connectionOfName(name)).toBeUndefined();
        },
      ),
    );
  });

  test('changes at 64 characters, not before', () => {
    expect(aggregateName('id', 'x'.repeat(61))).toBe(`id.${'x'.repeat(61)}`);
    expect(aggregateName('id', 'x'.repeat(62))).toMatch(/^id-x{28}_[0-9a-f]{32}$/);
  });

  test('is never that of another tool', () => {
    fc.assert(
      fc.property(address, address, (one, other) => {
        fc.pre(one.connectionId !== other.connectionId || one.own !== other.own);
        expect(aggregateName(one.connectionId, one.own)).not.toBe(
          aggregateName(other.connectionId, other.own),
        );
      }),
      { numRuns: 2_000 },
    );
    // Where a plain name could be taken for another's: the border, and what looks like an alias.
    expect(aggregateName('a', 'b.c')).not.toBe(aggregateName('a.b', 'c'));
    expect(aggregateName('a\ud800', 't')).not.toBe(aggregateName('a\udfff', 't'));
  });
});

describe('the names of a namespace', () => {
  test('drop no tool, and lead back to it', () => {
    fc.assert(
      fc.property(fc.array(address, { maxLength: 30 }), (entries) => {
        const named = nameEntries(entries, aggregateName);
        const distinct = new Set(entries.map(({ connectionId, own }) => JSON.stringify([connectionId, own])));
        expect(named.size).toBe(distinct.size);
        for (const entry of entries) {
          expect(named.get(aggregateName(entry.connectionId, entry.own))).toEqual(entry);
        }
      }),
    );
  });

  test('stay when other tools come and go', () => {
    fc.assert(
      fc.property(address, fc.array(address), fc.array(address), (entry, before, after) => {
        const [alone] = nameEntries([entry], aggregateName).keys();
        expect(nameEntries([...before, entry, ...after], aggregateName).get(alone as string)).toEqual(entry);
      }),
    );
  });

  test('are told apart even where two tools fall on one', () => {
    const collide = (_id: string, _own: string, attempt: number) => `same${attempt}`;
    const entries = ['a', 'b', 'a', 'c'].map((connectionId) => ({ connectionId, own: 't' }));
    expect([...nameEntries(entries, collide)]).toEqual([
      ['same0', { connectionId: 'a', own: 't' }],
      ['same1', { connectionId: 'b', own: 't' }],
      ['same2', { connectionId: 'c', own: 't' }],
    ]);
  });
});
