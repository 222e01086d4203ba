import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { durationMs } from './duration.ts';

describe('the duration of a ttl', () => {
  test.each([
    [1, 1_000],
    [3_600, 3_600_000],
    ['20s', 20_000],
    ['30m', 1_800_000],
    ['1h', 3_600_000],
    ['024h', 86_400_000],
  ])('%j is %i ms', (ttl, ms) => {
    expect(durationMs(ttl)).toBe(ms);
  });

  test.each([0, -1, 0.5, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 1e300])('%j is none', (ttl) => {
    expect(durationMs(ttl)).toBeUndefined();
  });

  test.each(['', '1', '1d', '1H', ' 1h', '1h ', '1h30m', '-1h', '+1h', '1.5h', '1e3s', '0s', '٣h', '1h\n'])(
    '%j is none',
    (ttl) => {
      expect(durationMs(ttl)).toBeUndefined();
    },
  );

  test('a number of seconds and the same with its unit are equal', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 999_999_999 }), (seconds) => {
        expect(durationMs(`${seconds}s`)).toBe(durationMs(seconds));
      }),
    );
  });

  test('nothing else gets a duration', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const ms = durationMs(text);
        if (ms !== undefined) expect(text).toMatch(/^\d+[smh]$/);
      }),
    );
  });
});
