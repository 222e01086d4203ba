import { type Revision, toCounts } from '../official-suite.ts';
import { type CellResult, nameOf } from './cell.ts';
import { isBad, type Loss, type Verdict } from './verdict.ts';

/** The results as Markdown: a table for each revision, what it comes to, and what is wrong below. */
export function toMarkdown(results: readonly CellResult[], verdicts: readonly Verdict[]): string {
  const byRevision = Map.groupBy(results, ({ revision }) => revision);
  return [
    ...[...byRevision].flatMap(([revision, cells]) => [...toTable(revision, cells), '']),
    ...verdicts.flatMap((verdict) => [
      toSummary(verdict),
      ...toProblems(
        verdict,
        results.find((one) => nameOf(one) === nameOf(verdict.cell)),
      ),
    ]),
  ].join('\n');
}

/** The cell in one line, for the progress of a run. */
export function toProgress(result: CellResult): string {
  const { passed, failed } = sumOf(result, () => true);
  return `${nameOf(result)}: ${passed} passed, ${failed} failed (${(result.tookMs / 1000).toFixed(1)} s)`;
}

function toTable(revision: Revision, cells: readonly CellResult[]): string[] {
  const heads = cells.map(
    ({ upstream, route }) => `${upstream}, ${route === 'direct' ? 'direct' : 'Patchbay'}`,
  );
  const scenarios = cells[0]?.scenarios ?? [];
  return [
    `| ${revision} | scored | ${heads.join(' | ')} |`,
    `| --- | --- |${' ---: |'.repeat(cells.length)}`,
    ...scenarios.map(({ name, isScored }) => {
      const counts = cells.map((cell) => toCounts(cell.scenarios.find((one) => one.name === name)));
      return `| ${name} | ${isScored ? 'yes' : 'no'} | ${counts.join(' | ')} |`;
    }),
    ...[true, false].map((scored) => {
      const sums = cells.map((cell) => toCounts(sumOf(cell, (isScored) => isScored === scored)));
      return `| **${scored ? 'scored' : 'not scored'}** | | ${sums.join(' | ')} |`;
    }),
  ];
}

function sumOf({ scenarios }: CellResult, isWanted: (isScored: boolean) => boolean) {
  const wanted = scenarios.filter(({ isScored }) => isWanted(isScored));
  const sum = (key: 'passed' | 'failed' | 'warnings') =>
    wanted.reduce((total, scenario) => total + scenario[key], 0);
  return { passed: sum('passed'), failed: sum('failed'), warnings: sum('warnings') };
}

function toSummary(verdict: Verdict): string {
  const { cell, regressions, stale, expected } = verdict;
  const counts = [
    ...(regressions.length > 0 ? [`${sumOfTimes(regressions)} regressions`] : []),
    ...(stale.length > 0 ? [`${stale.length} expected failures that did not come`] : []),
    ...(expected.length > 0 ? [`${sumOfTimes(expected)} expected failures`] : []),
  ];
  return `${isBad(verdict) ? '✗' : '✓'} ${nameOf(cell)}${counts.length > 0 ? `: ${counts.join(', ')}` : ''}`;
}

function sumOfTimes(losses: readonly Loss[]): number {
  return losses.reduce((sum, { times }) => sum + times, 0);
}

function toProblems({ regressions, stale }: Verdict, result: CellResult | undefined): string[] {
  const byScenario = Map.groupBy(regressions, ({ scenario }) => scenario);
  return [
    ...[...byScenario].flatMap(([name, losses]) => [
      `    ${name}: ${losses.map(({ check, times }) => (times > 1 ? `${check} (${times} times)` : check)).join(', ')}`,
      ...(result?.scenarios.find((one) => one.name === name)?.problems ?? []).map((line) => `      ${line}`),
    ]),
    ...stale.map(
      ({ scenario, check }) => `    ${scenario}: ${check} passes, although it is expected to fail`,
    ),
  ];
}
