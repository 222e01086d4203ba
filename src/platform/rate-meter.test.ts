import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RateMeter } from './rate-meter.ts';

const minuteMs = 60_000;

/** Lets a request through if the quota does. */
function request(meter: RateMeter, limit: number, now: number): boolean {
  if (meter.waitMs(limit, now) > 0) return false;
  meter.spend(limit, now);
  return true;
}

describe('a rate meter', () => {
  it('lets a whole quota through at once, and then says when the next may come', () => {
    const meter = new RateMeter();
    const remaining = Array.from({ length: 5 }, () => {
      expect(request(meter, 5, 1_000)).toBe(true);
      return meter.quota(5, 1_000).remaining;
    });
    expect(remaining).toEqual([4, 3, 2, 1, 0]);
    expect(meter.quota(5, 1_000)).toEqual({ limit: 5, remaining: 0, resetMs: minuteMs });
    expect(meter.waitMs(5, 1_000)).toBe(minuteMs / 5);
    expect(request(meter, 5, 1_000 + minuteMs / 5 - 1)).toBe(false);
    expect(request(meter, 5, 1_000 + minuteMs / 5)).toBe(true);
  });

  it('never lets more through than a quota at once and its share of the time since', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.array(fc.integer({ min: 0, max: 5_000 }), { minLength: 1, maxLength: 200 }),
        (limit, pauses) => {
          const meter = new RateMeter();
          const passed: number[] = [];
          let now = 1_000;
          for (const pause of pauses) {
            now += pause;
            if (request(meter, limit, now)) passed.push(now);
          }
          for (const [index, from] of passed.entries()) {
            for (const [more, until] of passed.slice(index).entries()) {
              const share = ((until - from) * limit) / minuteMs;
              expect(more + 1).toBeLessThanOrEqual(limit + Math.floor(share + 1e-3) + 1e-9);
            }
          }
        },
      ),
    );
  });

  it('says of a refused request when it passes, and of what is left how much passes', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100_000 }),
        fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 300 }),
        (limit, pauses) => {
          const meter = new RateMeter();
          let now = 1_000;
          for (const pause of pauses) {
            now += pause;
            const wait = meter.waitMs(limit, now);
            expect(wait > 0).toBe(meter.quota(limit, now).remaining === 0);
            if (wait === 0) meter.spend(limit, now);
            else expect(meter.waitMs(limit, Math.ceil(now + wait))).toBe(0);
          }
        },
      ),
    );
  });
});
