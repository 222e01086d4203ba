import { describe, expect, test } from 'vitest';
import { EventBoundary } from './event-boundary.ts';

/** For each length of a beginning of `text`, whether it ends between two events. */
const boundaries = new Map([
  ['data: a\n\ndata: b\n\n', [0, 9, 18]],
  ['data: a\r\n\r\ndata: b\r\n\r\n', [0, 11, 22]],
  ['data: a\r\rdata: b\r\r', [0, 9, 18]],
  ['id: 1\ndata: a\r\n\n', [0, 16]],
  [': comment\n\n', [0, 11]],
  ['data: no end\n', [0]],
]);

describe.each([...boundaries])('%j', (text, expected) => {
  const bytes = Buffer.from(text);

  test('is between two events after each blank line, however it is cut', () => {
    for (const size of [1, 2, 3, 4, 7, bytes.length]) {
      const boundary = new EventBoundary();
      const seen: number[] = boundary.isHere ? [0] : [];
      for (let at = 0; at < bytes.length; at += size) {
        boundary.look(bytes.subarray(at, at + size));
        const end = Math.min(at + size, bytes.length);
        expect(boundary.isHere, `at ${end} by ${size}`).toBe(expected.includes(end));
        if (boundary.isHere) seen.push(end);
      }
      if (size === 1) expect(seen).toEqual(expected);
    }
  });
});

test('an empty chunk changes nothing', () => {
  const boundary = new EventBoundary();
  boundary.look(Buffer.from('data'));
  boundary.look(Buffer.alloc(0));
  expect(boundary.isHere).toBe(false);
});
