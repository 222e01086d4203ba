import { describe, expect, it } from 'vitest';
import { revisions } from './official-suite.ts';
import { isSameEra, nameOf, routes, upstreams } from './server/cell.ts';
import { expectedFailures } from './server/expected-failures.ts';
import { cellsOf, runCells } from './server/matrix.ts';
import { toMarkdown } from './server/report.ts';
import { isBad, judge } from './server/verdict.ts';

/** As many checks pass in the era of the upstream; a change of the suite's output that hides some must not pass. */
const passing = { '2025-11-25': 84, '2026-07-28': 164 };

describe('Patchbay under the official conformance suite for servers', () => {
  it('passes every check that passes directly, and across eras all that the protocol allows', async () => {
    const cells = cellsOf({ revisions, upstreams, routes });
    const results = await runCells(cells, undefined, () => {});
    const bad = judge(results, expectedFailures).filter(isBad);
    expect(bad, toMarkdown(results, bad)).toEqual([]);
    const passed = results
      .filter(isSameEra)
      .map((result) => [
        nameOf(result),
        result.scenarios.reduce((sum, scenario) => sum + scenario.passed, 0),
      ]);
    expect(passed).toEqual(cells.filter(isSameEra).map((cell) => [nameOf(cell), passing[cell.revision]]));
  }, 240_000);
});
