import { toCounts } from '../official-suite.ts';
import type { RevisionResult } from './suite.ts';

/** Whether the suite would say that the client does not conform: warnings and unscored scenarios do not count. */
export function hasFailed(results: readonly RevisionResult[]): boolean {
  return results.some(({ scenarios }) => scenarios.some(({ isScored, failed }) => isScored && failed > 0));
}

/** The results as Markdown: a row for each scenario, a column for each revision, and the problems below. */
export function toMarkdown(results: readonly RevisionResult[]): string {
  const names = new Set(results.flatMap(({ scenarios }) => scenarios.map(({ name }) => name)));
  const scoredFirst = [true, false].flatMap((isScored) =>
    [...names].filter((name) => isScoredIn(results, name) === isScored),
  );
  return [
    `| scenario | scored | ${results.map(({ revision }) => revision).join(' | ')} |`,
    `| --- | --- |${' ---: |'.repeat(results.length)}`,
    ...scoredFirst.map((name) => {
      const cells = results.map(({ scenarios }) => toCounts(scenarios.find((one) => one.name === name)));
      return `| ${name} | ${isScoredIn(results, name) ? 'yes' : 'no'} | ${cells.join(' | ')} |`;
    }),
    '',
    ...results.map(toSummary),
    ...results.flatMap(toProblems),
  ].join('\n');
}

function isScoredIn(results: readonly RevisionResult[], name: string): boolean {
  return results.some(({ scenarios }) => scenarios.some((one) => one.name === name && one.isScored));
}

function toSummary({ revision, scenarios }: RevisionResult): string {
  const scored = scenarios.filter(({ isScored }) => isScored);
  const good = scored.filter(({ failed }) => failed === 0);
  return `${revision}: ${good.length} of ${scored.length} scored scenarios pass.`;
}

function toProblems({ revision, scenarios }: RevisionResult): string[] {
  return scenarios
    .filter(({ problems }) => problems.length > 0)
    .flatMap(({ name, isScored, problems, output }) => [
      '',
      `${name} (${revision}${isScored ? '' : ', not scored'})`,
      ...problems.map((problem) => `  ${problem}`),
      ...(isScored
        ? [
            `  the driver printed:`,
            ...output
              .trimEnd()
              .split('\n')
              .map((line) => `    ${line}`),
          ]
        : []),
    ]);
}
