import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RateMeter } from './rate-meter.ts';

const minuteMs = 60_000;

/** Lets a request through if its quota does. */
function request(meter: RateMeter, subject: string, limit: number, now: number): boolean {
  const quota = meter.ask(subject, limit, now);
  if (quota.retryMs > 0) return false;
  meter.spend(subject, quota, now);
  return true;
}

describe('a rate meter', () => {
  it('lets a whole quota through at once, and then says when the next may come', () => {
    const meter = new RateMeter(10);
    const quotas = Array.from({ length: 5 }, () => {
      const quota = meter.ask('a', 5, 1_000);
      if (quota.retryMs === 0) meter.spend('a', quota, 1_000);
      return quota;
    });
    expect(quotas.map(({ remaining }) => remaining)).toEqual([4, 3, 2, 1, 0]);
    expect(quotas.every(({ retryMs }) => retryMs === 0)).toBe(true);
    const refused = meter.ask('a', 5, 1_000);
    expect(refused).toEqual({ limit: 5, remaining: 0, resetMs: minuteMs, retryMs: minuteMs / 5 });
    expect(request(meter, 'a', 5, 1_000 + refused.retryMs - 1)).toBe(false);
    expect(request(meter, 'a', 5, 1_000 + refused.retryMs)).toBe(true);
  });

  it('keeps subjects apart, and forgets the one longest unseen', () => {
    const meter = new RateMeter(2);
    expect(request(meter, 'a', 1, 0)).toBe(true);
    expect(request(meter, 'b', 1, 0)).toBe(true);
    expect(request(meter, 'a', 1, 0)).toBe(false);
    expect(request(meter, 'c', 1, 0)).toBe(true);
    expect(request(meter, 'b', 1, 0)).toBe(true);
  });

  it('never lets more through in any minute than twice the quota, and than the quota after a full stop', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.array(fc.integer({ min: 0, max: 5_000 }), { minLength: 1, maxLength: 200 }),
        (limit, pauses) => {
          const meter = new RateMeter(10);
          const passed: number[] = [];
          let now = 1_000;
          for (const pause of pauses) {
            now += pause;
            if (request(meter, 'a', limit, now)) passed.push(now);
          }
          const start = passed[0] as number;
          for (const [index, from] of passed.entries()) {
            const within = passed.slice(index).filter((at) => at < from + minuteMs).length;
            expect(within).toBeLessThanOrEqual(2 * limit);
          }
          // Spent at once and come back evenly: at most the quota, and one more for each share of time.
          const elapsed = now - start;
          expect(passed.length).toBeLessThanOrEqual(limit + Math.floor((elapsed * limit) / minuteMs + 1e-6));
        },
      ),
    );
  });

  it('says of a refused request exactly when it passes', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100_000 }),
        fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 300 }),
        (limit, pauses) => {
          const meter = new RateMeter(10);
          let now = 1_000;
          for (const pause of pauses) {
            now += pause;
            const quota = meter.ask('a', limit, now);
            if (quota.retryMs === 0) {
              meter.spend('a', quota, now);
              continue;
            }
            const later = Math.ceil(now + quota.retryMs);
            expect(meter.ask('a', limit, later).retryMs).toBe(0);
          }
        },
      ),
    );
  });
});
