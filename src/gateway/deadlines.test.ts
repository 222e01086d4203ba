import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Deadlines, type Expiring } from './deadlines.ts';

class FakeClock {
  time = 0;
  timers: (() => void)[] = [];
  now = () => this.time;
  elapsed = () => this.time;
  after = (_ms: number, run: () => void) => {
    this.timers.push(run);
    return () => {};
  };
  fire() {
    for (const run of this.timers.splice(0)) run();
  }
}

test('each call expires once, when its last deadline has passed, unless it ended before', () => {
  const actions = fc.array(
    fc.record({ call: fc.nat(9), deadline: fc.option(fc.nat(100), { nil: undefined }) }),
    { maxLength: 60 },
  );
  fc.assert(
    fc.property(actions, fc.nat(100), (steps, end) => {
      const clock = new FakeClock();
      const deadlines = new Deadlines(clock);
      const expired: number[] = [];
      const calls = Array.from(
        { length: 10 },
        (_, index): Expiring => ({ deadline: 0, slot: -1, expire: () => expired.push(index) }),
      );
      const expected = new Map<number, number>();
      for (const { call, deadline } of steps) {
        if (deadline === undefined) {
          deadlines.delete(calls[call] as Expiring);
          expected.delete(call);
        } else {
          deadlines.set(calls[call] as Expiring, deadline);
          expected.set(call, deadline);
        }
      }
      clock.time = end;
      clock.fire();
      clock.fire();
      const due = [...expected].filter(([, deadline]) => deadline <= end).map(([call]) => call);
      expect(expired.sort()).toEqual(due.sort());
    }),
  );
});
