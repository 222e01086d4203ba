import { describe, expect, it } from 'vitest';
import type { ScenarioResult } from '../official-suite.ts';
import type { CellResult } from './cell.ts';
import type { ExpectedFailure } from './expected-failures.ts';
import { isBad, judge } from './verdict.ts';

function scenario(name: string, passes: Record<string, number>, given: Partial<ScenarioResult> = {}) {
  const passed = Object.values(passes).reduce((sum, times) => sum + times, 0);
  return { name, isScored: true, passed, failed: 0, warnings: 0, passes, problems: [], ...given };
}

function cell(
  at: Pick<CellResult, 'upstream' | 'route'>,
  scenarios: ScenarioResult[],
  revision: CellResult['revision'] = '2026-07-28',
): CellResult {
  return { revision, ...at, scenarios, tookMs: 0 };
}

const direct = cell({ upstream: 'dual', route: 'direct' }, [scenario('ping', { pong: 2, schema: 1 })]);
const impossible: ExpectedFailure = {
  revision: '2026-07-28',
  upstream: 'legacy',
  scenario: 'ping',
  check: 'pong',
  because: 'Nobody shall say pong.',
  source: 'nowhere',
};

describe('the verdict on a cell of one era', () => {
  it('is good where all passes that passes directly', () => {
    const through = cell({ upstream: 'dual', route: 'patchbay' }, direct.scenarios);
    const verdicts = judge([direct, through], []);
    expect(verdicts).toHaveLength(2);
    expect(verdicts.some(isBad)).toBe(false);
  });

  it('is bad for one check that warns, is not made, or comes from a scenario without a result', () => {
    for (const scenarios of [
      [scenario('ping', { pong: 1, schema: 1 })],
      [scenario('ping', { schema: 1 })],
      [],
    ]) {
      const through = cell({ upstream: 'dual', route: 'patchbay' }, scenarios);
      const verdicts = judge([direct, through], []);
      expect(verdicts.filter(isBad)).toHaveLength(1);
      expect(verdicts[1]?.regressions[0]).toMatchObject({ scenario: 'ping', check: 'pong' });
    }
  });

  it('holds Patchbay to what is not scored too, but the upstream only to what is', () => {
    const unscored = { isScored: false, failed: 1 };
    const one = cell({ upstream: 'dual', route: 'direct' }, [scenario('tasks', { started: 1 }, unscored)]);
    const two = cell({ upstream: 'dual', route: 'patchbay' }, [scenario('tasks', {}, unscored)]);
    const [ofUpstream, ofPatchbay] = judge([one, two], []);
    expect(ofUpstream && isBad(ofUpstream)).toBe(false);
    expect(ofPatchbay?.regressions).toEqual([
      { scenario: 'tasks', isScored: false, check: 'started', times: 1 },
    ]);
  });

  it('is bad for a direct run with a scored failure', () => {
    const faulty = cell({ upstream: 'modern', route: 'direct' }, [scenario('ping', {}, { failed: 1 })]);
    expect(judge([faulty], []).filter(isBad)).toHaveLength(1);
  });
});

describe('the verdict across eras', () => {
  const across = (scenarios: ScenarioResult[]) => cell({ upstream: 'legacy', route: 'patchbay' }, scenarios);

  it('leaves direct runs out, which say nothing', () => {
    expect(judge([cell({ upstream: 'legacy', route: 'direct' }, [])], [])).toEqual([]);
  });

  it('holds Patchbay against the upstream of both eras, but for the failures that are expected', () => {
    const lost = across([scenario('ping', { pong: 1, schema: 1 })]);
    expect(judge([direct, lost], []).filter(isBad)).toHaveLength(1);
    const [, forgiven] = judge([direct, lost], [impossible]);
    expect(forgiven).toMatchObject({ regressions: [], stale: [], expected: [{ check: 'pong', times: 1 }] });
  });

  it('forgives as many checks of an id as are listed, and no more', () => {
    const lost = across([scenario('ping', { schema: 1 })]);
    expect(judge([direct, lost], [impossible]).filter(isBad)).toHaveLength(1);
    expect(judge([direct, lost], [{ ...impossible, times: 2 }]).some(isBad)).toBe(false);
  });

  it('is bad for an expected failure that did not come', () => {
    const [, verdict] = judge([direct, across(direct.scenarios)], [impossible]);
    expect(verdict).toMatchObject({ regressions: [], stale: [impossible] });
  });

  it('does not miss an expected failure of a scenario that was not run', () => {
    const [, verdict] = judge(
      [direct, across(direct.scenarios)],
      [{ ...impossible, scenario: 'tools-list' }],
    );
    expect(verdict?.stale).toEqual([]);
  });
});
