import { describe, expect, it } from 'vitest';
import type { CellResult } from './cell.ts';
import { toMarkdown, toProgress } from './report.ts';
import type { Verdict } from './verdict.ts';

const passing = { name: 'ping', isScored: true, passed: 2, failed: 0, warnings: 0, passes: {}, problems: [] };
const failing = { ...passing, passed: 1, failed: 1, problems: ['FAILURE pong: no pong'] };
const direct: CellResult = {
  revision: '2025-11-25',
  upstream: 'legacy',
  route: 'direct',
  scenarios: [passing, { ...passing, name: 'polling', isScored: false }],
  tookMs: 1234,
};
const through: CellResult = { ...direct, route: 'patchbay', scenarios: [failing] };

describe('the report', () => {
  it('has a row for each scenario, a column for each cell, and sums', () => {
    expect(toMarkdown([direct, through], []).split('\n').slice(0, 6)).toEqual([
      '| 2025-11-25 | scored | legacy, direct | legacy, Patchbay |',
      '| --- | --- | ---: | ---: |',
      '| ping | yes | 2/2 | 1/2 ✗ |',
      '| polling | no | 2/2 | – |',
      '| **scored** | | 2/2 | 1/2 ✗ |',
      '| **not scored** | | 2/2 | 0/0 |',
    ]);
  });

  it('names what is lost, why, and what is expected in vain', () => {
    const verdict: Verdict = {
      cell: through,
      regressions: [{ scenario: 'ping', isScored: true, check: 'pong', times: 2 }],
      stale: [
        {
          revision: '2025-11-25',
          upstream: 'legacy',
          scenario: 'polling',
          check: 'retry',
          because: 'It cannot be.',
          source: 'nowhere',
        },
      ],
      expected: [],
    };
    expect(toMarkdown([direct, through], [verdict]).split('\n').slice(-4)).toEqual([
      '✗ 2025-11-25, legacy upstream, through Patchbay: 2 regressions, 1 expected failures that did not come',
      '    ping: pong (2 times)',
      '      FAILURE pong: no pong',
      '    polling: retry passes, although it is expected to fail',
    ]);
  });

  it('tells of a cell in one line when it is done', () => {
    expect(toProgress(direct)).toBe('2025-11-25, legacy upstream, direct: 4 passed, 0 failed (1.2 s)');
  });
});
