import { describe, expect, it } from 'vitest';
import { hasFailed, toMarkdown } from './report.ts';
import type { ClientResult } from './suite.ts';

function resultOf(name: string, given: Partial<ClientResult> = {}): ClientResult {
  return {
    name,
    isScored: true,
    passed: 5,
    failed: 0,
    warnings: 0,
    passes: {},
    problems: [],
    output: '',
    ...given,
  };
}

describe('the verdict', () => {
  it('is failure for one failed check in a scored scenario of any revision', () => {
    const good = { revision: '2025-11-25', scenarios: [resultOf('auth/a')] };
    const bad = { revision: '2026-07-28', scenarios: [resultOf('auth/a', { failed: 1 })] };
    expect(hasFailed([good])).toBe(false);
    expect(hasFailed([good, bad])).toBe(true);
  });

  it('does not count warnings and unscored scenarios, as the suite does not', () => {
    const scenarios = [
      resultOf('auth/a', { warnings: 1 }),
      resultOf('auth/dpop', { isScored: false, failed: 3 }),
    ];
    expect(hasFailed([{ revision: '2026-07-28', scenarios }])).toBe(false);
  });
});

describe('the table', () => {
  it('has a row for each scenario, scored ones first, and a column for each revision', () => {
    const lines = toMarkdown([
      { revision: '2025-11-25', scenarios: [resultOf('auth/dpop', { isScored: false, failed: 1 })] },
      { revision: '2026-07-28', scenarios: [resultOf('auth/a', { warnings: 2 })] },
    ]).split('\n');
    expect(lines.slice(0, 4)).toEqual([
      '| scenario | scored | 2025-11-25 | 2026-07-28 |',
      '| --- | --- | ---: | ---: |',
      '| auth/a | yes | – | 5/5, 2 warned |',
      '| auth/dpop | no | 5/6 ✗ | – |',
    ]);
  });

  it('is followed by every problem, with what the driver printed of scored scenarios', () => {
    const text = toMarkdown([
      {
        revision: '2026-07-28',
        scenarios: [
          resultOf('auth/a', { failed: 1, problems: ['FAILURE x: no token'], output: '302 here\n' }),
        ],
      },
    ]);
    expect(text).toContain('2026-07-28: 0 of 1 scored scenarios pass.');
    expect(text).toContain('auth/a (2026-07-28)\n  FAILURE x: no token\n  the driver printed:\n    302 here');
  });
});
