import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readResult, readScenarios, toCounts } from './official-suite.ts';

const list = `Required for 2026-07-28 (4 scenarios, frozen; run at the 2026-07-28 wire):

Server scenarios (test against a server):
  - server-stateless

Client scenarios (test against a client):
  - tools_call
  - auth/basic-cimd
  - auth/iss-supported

Run and reported, but never scored:
  extension (2):
    - auth/dpop [client]
    - tasks-lifecycle [server]
`;

describe('the list of scenarios', () => {
  it('has those of the side that is under test, and which of them are scored', () => {
    expect(readScenarios(list, 'client')).toEqual([
      { name: 'tools_call', isScored: true },
      { name: 'auth/basic-cimd', isScored: true },
      { name: 'auth/iss-supported', isScored: true },
      { name: 'auth/dpop', isScored: false },
    ]);
    expect(readScenarios(list, 'server')).toEqual([
      { name: 'server-stateless', isScored: true },
      { name: 'tasks-lifecycle', isScored: false },
    ]);
  });
});

describe('the result of a scenario', () => {
  it('counts the checks by what came of them, and names what is wrong', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'patchbay-checks-'));
    const checks = [
      { id: 'a', description: 'does a', status: 'SUCCESS' },
      { id: 'a', description: 'does a again', status: 'SUCCESS' },
      { id: 'b', description: 'does b', status: 'FAILURE', errorMessage: 'did c' },
      { id: 'd', description: 'does d', status: 'WARNING' },
      { id: 'e', description: 'does e', status: 'INFO' },
    ];
    await writeFile(join(folder, 'checks.json'), JSON.stringify(checks));
    expect(await readResult(folder, { name: 'x', isScored: true })).toEqual({
      name: 'x',
      isScored: true,
      passed: 2,
      failed: 1,
      warnings: 1,
      passes: { a: 2 },
      problems: ['FAILURE b: did c', 'WARNING d: does d'],
    });
    await rm(folder, { recursive: true });
  });

  it('is a failure where the scenario left no checks', async () => {
    const result = await readResult(join(tmpdir(), 'patchbay-checks-nowhere'), { name: 'x', isScored: true });
    expect(result).toMatchObject({ passed: 0, failed: 1 });
    expect(result.problems[0]).toMatch(/^no result: ENOENT/);
  });

  it('is passed of all checks in a table', () => {
    expect(toCounts({ passed: 2, failed: 0, warnings: 0 })).toBe('2/2');
    expect(toCounts({ passed: 2, failed: 1, warnings: 3 })).toBe('2/3, 3 warned ✗');
    expect(toCounts(undefined)).toBe('–');
  });
});
