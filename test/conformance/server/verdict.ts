import type { ScenarioResult } from '../official-suite.ts';
import { type Cell, type CellResult, isSameEra, nameOf } from './cell.ts';
import type { ExpectedFailure } from './expected-failures.ts';

/** Checks of one id that pass in the reference, and not in the cell. */
export interface Loss {
  scenario: string;
  isScored: boolean;
  check: string;
  times: number;
}

/** What is wrong with a cell; nothing, if both lists are empty. */
export interface Verdict {
  cell: Cell;
  /** Losses that nobody expected. */
  regressions: Loss[];
  /** Expected losses that did not come. */
  stale: ExpectedFailure[];
  /** Losses that the protocol makes unavoidable. */
  expected: Loss[];
}

/**
 * The direct run that a cell through Patchbay is held against: of the same upstream, or, where that does not speak
 * the revision, of the one that speaks both. A direct run in its own era is held against perfection (undefined).
 */
export function referenceOf(cell: Cell): Cell | undefined {
  if (cell.route === 'direct') return undefined;
  return { ...cell, route: 'direct', upstream: isSameEra(cell) ? cell.upstream : 'dual' };
}

/** Judges every cell; a direct run across eras is only there to be looked at. */
export function judge(
  results: readonly CellResult[],
  expectedFailures: readonly ExpectedFailure[],
): Verdict[] {
  return results
    .filter((cell) => cell.route === 'patchbay' || isSameEra(cell))
    .map((cell) => judgeCell(cell, results, expectedFailures));
}

/** Whether a verdict is a failure. */
export function isBad({ regressions, stale }: Verdict): boolean {
  return regressions.length + stale.length > 0;
}

function judgeCell(
  result: CellResult,
  results: readonly CellResult[],
  allExpected: readonly ExpectedFailure[],
): Verdict {
  const { revision, upstream, route, scenarios } = result;
  const cell = { revision, upstream, route };
  const wanted = referenceOf(result);
  if (!wanted) return { cell, regressions: failuresOf(scenarios), stale: [], expected: [] };
  const reference = results.find((one) => nameOf(one) === nameOf(wanted));
  if (!reference) throw new Error(`${nameOf(cell)} has nothing to be held against`);
  const ran = new Set(scenarios.map(({ name }) => name));
  const here = allExpected.filter(
    (one) => one.revision === revision && one.upstream === upstream && ran.has(one.scenario),
  );
  const lost = lossesOf(scenarios, reference.scenarios);
  const isExpected = (loss: Loss) =>
    here.some((one) => isAbout(one, loss) && loss.times === (one.times ?? 1));
  return {
    cell,
    regressions: lost.filter((loss) => !isExpected(loss)),
    stale: here.filter((one) => !lost.some((loss) => isAbout(one, loss) && loss.times >= (one.times ?? 1))),
    expected: lost.filter(isExpected),
  };
}

function isAbout(expected: ExpectedFailure, loss: Loss): boolean {
  return expected.scenario === loss.scenario && expected.check === loss.check;
}

/** Checks are counted by id: one that warns or is not made at all has not passed either. */
function lossesOf(scenarios: readonly ScenarioResult[], reference: readonly ScenarioResult[]): Loss[] {
  return reference.flatMap(({ name, isScored, passes }) => {
    const found = scenarios.find((one) => one.name === name)?.passes ?? {};
    return Object.entries(passes)
      .map(([check, times]) => ({ scenario: name, isScored, check, times: times - (found[check] ?? 0) }))
      .filter(({ times }) => times > 0);
  });
}

/** What the suite itself counts as a failure of a server. */
function failuresOf(scenarios: readonly ScenarioResult[]): Loss[] {
  return scenarios
    .filter(({ isScored, failed }) => isScored && failed > 0)
    .map(({ name, failed }) => ({ scenario: name, isScored: true, check: 'any', times: failed }));
}
