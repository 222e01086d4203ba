import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const conformance = fileURLToPath(import.meta.resolve('@modelcontextprotocol/conformance/dist/index.js'));

/** The revisions for which the suite has requirements that Patchbay is held to. */
export const revisions = ['2025-11-25', '2026-07-28'] as const;

export type Revision = (typeof revisions)[number];

/** A scenario of a revision; the suite runs some that it does not score, such as those of extensions. */
export interface Scenario {
  name: string;
  isScored: boolean;
}

/** What one scenario found out about one thing. */
interface Check {
  id: string;
  description: string;
  status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'INFO' | 'SKIPPED';
  errorMessage?: string;
}

/** What came of a scenario. */
export interface ScenarioResult extends Scenario {
  /** Numbers of checks. */
  passed: number;
  failed: number;
  warnings: number;
  /** How often each check passed, by its id. */
  passes: Record<string, number>;
  /** One line for each check that failed or warned. */
  problems: string[];
}

/** The scenarios that the suite runs against servers or clients of `revision`, in its order: the scored ones first. */
export async function listScenarios(revision: string, side: 'server' | 'client'): Promise<Scenario[]> {
  return readScenarios(await runSuite(['list', '--requirements', revision]), side);
}

/** Reads the names out of what `list --requirements` prints. */
export function readScenarios(list: string, side: 'server' | 'client'): Scenario[] {
  const [scored = '', others = ''] = list.split('Run and reported, but never scored:');
  const [servers = '', clients = ''] = scored.split('Client scenarios (');
  const names = (text: string, pattern: RegExp) =>
    [...text.matchAll(pattern)].map(([, name]) => name as string);
  return [
    ...names(side === 'server' ? servers : clients, /^ {2}- (\S+)$/gm).map((name) => ({
      name,
      isScored: true,
    })),
    ...names(others, new RegExp(`^ {4}- (\\S+) \\[${side}\\]$`, 'gm')).map((name) => ({
      name,
      isScored: false,
    })),
  ];
}

/**
 * Runs the suite's command line and gives what it printed. Its exit code is not asked for: what a run is worth is in
 * the files that it leaves.
 */
export async function runSuite(args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const child = spawn(process.execPath, [conformance, ...args], {
    cwd: root,
    // The same Node for what the suite starts, whatever the shell would find.
    env: { ...process.env, PATH: [dirname(process.execPath), process.env.PATH].join(delimiter), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  await new Promise((resolve, reject) => {
    child.once('close', resolve);
    child.once('error', reject);
  });
  return output;
}

/** Where in `directory`, the suite's output, the files of a scenario are: `prefix`, its name, and a date. */
export function folderOf(directory: string, { name }: Scenario, prefix = ''): string {
  const [found] = globSync(`${prefix}${name}-2*`, { cwd: directory });
  return join(directory, found ?? `${prefix}${name}`);
}

/** Counts the checks of a scenario, whose files are in `folder`. */
export async function readResult(folder: string, scenario: Scenario): Promise<ScenarioResult> {
  try {
    const checks: Check[] = JSON.parse(await readFile(join(folder, 'checks.json'), 'utf8'));
    const ofStatus = (...wanted: Check['status'][]) => checks.filter(({ status }) => wanted.includes(status));
    const passes: Record<string, number> = {};
    for (const { id } of ofStatus('SUCCESS')) passes[id] = (passes[id] ?? 0) + 1;
    return {
      ...scenario,
      passed: ofStatus('SUCCESS').length,
      failed: ofStatus('FAILURE').length,
      warnings: ofStatus('WARNING').length,
      passes,
      problems: ofStatus('FAILURE', 'WARNING').map(
        (check) => `${check.status} ${check.id}: ${check.errorMessage ?? check.description}`,
      ),
    };
  } catch (error) {
    // A scenario that did not come to its end must not count as one without failures.
    const problems = [`no result: ${(error as Error).message}`];
    return { ...scenario, passed: 0, failed: 1, warnings: 0, passes: {}, problems };
  }
}

/** Passed of all checks, for a table; `–` where there is no such scenario. */
export function toCounts(result: Pick<ScenarioResult, 'passed' | 'failed' | 'warnings'> | undefined): string {
  if (!result) return '–';
  const { passed, failed, warnings } = result;
  const warned = warnings > 0 ? `, ${warnings} warned` : '';
  return `${passed}/${passed + failed}${warned}${failed > 0 ? ' ✗' : ''}`;
}
