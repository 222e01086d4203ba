import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LineReader } from './lines.ts';

function read(chunks: readonly Buffer[], maxBytes = 1_000, keptBytes = 10) {
  const found: string[] = [];
  const reader = new LineReader(maxBytes, keptBytes, {
    line: (bytes) => found.push(bytes.toString('utf8')),
    tooLong: (head, tail) => found.push(`${head}…${tail}`),
  });
  for (const chunk of chunks) reader.push(chunk);
  return found;
}

/** The same bytes, cut at these places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...ends, bytes.length].map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
}

describe('lines', () => {
  it('are the same wherever their bytes are cut', () => {
    const line = fc.string({ unit: 'grapheme', maxLength: 30 }).map((text) => text.replaceAll(/[\r\n]/g, ''));
    fc.assert(
      fc.property(fc.array(line), fc.array(fc.nat()), fc.constantFrom('\n', '\r\n'), (lines, places, end) => {
        const bytes = Buffer.from(lines.map((text) => text + end).join(''));
        expect(read(cut(bytes, places))).toEqual(lines.filter((text) => text !== ''));
      }),
    );
  });

  it('that are too long are told by their ends, and the next one is whole', () => {
    fc.assert(
      fc.property(fc.integer({ min: 101, max: 400 }), fc.array(fc.nat()), (length, places) => {
        const long = Array.from({ length }, (_, i) => String(i % 10)).join('');
        const bytes = Buffer.from(`one\n${long}\ntwo\n`);
        expect(read(cut(bytes, places), 100)).toEqual([
          'one',
          `${long.slice(0, 10)}…${long.slice(-10)}`,
          'two',
        ]);
      }),
    );
  });

  it('come when their end has come', () => {
    expect(read([Buffer.from('{"a":1}')])).toEqual([]);
    expect(read([Buffer.from('{"a":1}'), Buffer.from('\n{')])).toEqual(['{"a":1}']);
  });
});
