import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startPatchbay, type TestPatchbay } from '../../fixtures/patchbay.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const conformance = fileURLToPath(import.meta.resolve('@modelcontextprotocol/conformance/dist/index.js'));
/** The suite splits the command at spaces, so it is relative to `root`. */
const driver = 'node --disable-warning=ExperimentalWarning test/conformance/client/driver.ts';
/** The scenario with a client metadata document expects this client id; nobody fetches it. */
const clientMetadataUrl = 'https://conformance-test.local/client-metadata.json';
/** All scenarios of a revision run at once, and the machine may be busy with other things besides. */
const scenarioMs = 120_000;

/** The revisions for which the suite has requirements that Patchbay is held to. */
export const revisions = ['2025-11-25', '2026-07-28'];

/** A scenario of a revision; what the suite does not score are extensions of the protocol. */
interface Scenario {
  name: string;
  isScored: boolean;
}

/** What came of a scenario. */
export interface ScenarioResult extends Scenario {
  /** Numbers of checks. */
  passed: number;
  failed: number;
  warnings: number;
  /** One line for each check that failed or warned. */
  problems: string[];
  /** What the driver printed. */
  output: string;
}

export interface RevisionResult {
  revision: string;
  scenarios: ScenarioResult[];
}

/** Reads the names out of `conformance list --requirements`. */
export function readScenarios(list: string): Scenario[] {
  const [scored = '', others = ''] = list.split('Run and reported, but never scored:');
  const names = (text: string, pattern: RegExp) =>
    [...text.matchAll(pattern)].map(([, name]) => name as string);
  return [
    ...names(scored, /^ {2}- (auth\/\S+)$/gm).map((name) => ({ name, isScored: true })),
    ...names(others, /^ {4}- (auth\/\S+) \[client\]$/gm).map((name) => ({ name, isScored: false })),
  ];
}

/** Runs the `auth` scenarios of each revision, or the one named `only`, through one Patchbay. */
export async function runScenarios(wanted: readonly string[], only?: string): Promise<RevisionResult[]> {
  const patchbay = await startPatchbay({ env: { PATCHBAY_OAUTH_CLIENT_METADATA_URL: clientMetadataUrl } });
  try {
    const results: RevisionResult[] = [];
    for (const revision of wanted) results.push(await runRevision(patchbay, revision, only));
    return results;
  } finally {
    await patchbay.stop();
  }
}

async function runRevision(
  { url, key }: TestPatchbay,
  revision: string,
  only: string | undefined,
): Promise<RevisionResult> {
  const listed = await listScenarios(revision);
  const scenarios = listed.filter(({ name }) => only === undefined || name === only);
  if (scenarios.length === 0) return { revision, scenarios: [] };
  const directory = await mkdtemp(join(tmpdir(), 'patchbay-conformance-'));
  try {
    const { output } = await runSuite(
      [
        'client',
        ...['--command', driver],
        ...['--timeout', String(scenarioMs)],
        ...['--output-dir', directory],
        ...(only
          ? ['--scenario', only, '--spec-version', revision, '--force']
          : ['--requirements', revision]),
      ],
      { CONFORMANCE_PATCHBAY_URL: url, CONFORMANCE_PATCHBAY_KEY: key },
    );
    const read = scenarios.map((scenario) => readResult(directory, scenario, output));
    return { revision, scenarios: await Promise.all(read) };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The `auth` scenarios that the suite runs against clients of `revision`, in its order: the scored ones first. */
async function listScenarios(revision: string): Promise<Scenario[]> {
  const { output } = await runSuite(['list', '--requirements', revision], {});
  return readScenarios(output);
}

interface Check {
  id: string;
  description: string;
  status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'INFO' | 'SKIPPED';
  errorMessage?: string;
}

async function readResult(
  directory: string,
  scenario: Scenario,
  suiteOutput: string,
): Promise<ScenarioResult> {
  const [found] = globSync(`${scenario.name}-2*`, { cwd: directory });
  const read = (file: string) => readFile(join(directory, found ?? scenario.name, file), 'utf8');
  try {
    const checks: Check[] = JSON.parse(await read('checks.json'));
    const count = (status: Check['status']) => checks.filter((check) => check.status === status).length;
    return {
      ...scenario,
      passed: count('SUCCESS'),
      failed: count('FAILURE'),
      warnings: count('WARNING'),
      problems: checks
        .filter(({ status }) => status === 'FAILURE' || status === 'WARNING')
        .map((check) => `${check.status} ${check.id}: ${check.errorMessage ?? check.description}`),
      output: (await read('stdout.txt')) + (await read('stderr.txt')),
    };
  } catch (error) {
    // A scenario that did not come to its end must not count as one without failures.
    const problems = [`no result: ${(error as Error).message}`];
    return { ...scenario, passed: 0, failed: 1, warnings: 0, problems, output: suiteOutput };
  }
}

/** Runs the suite's command line; its exit code is not asked for, because it also speaks for what is no `auth` scenario. */
async function runSuite(args: string[], env: Record<string, string>): Promise<{ output: string }> {
  const child = spawn(process.execPath, [conformance, ...args], {
    cwd: root,
    // The same Node for the driver, whatever the shell would find.
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
  return { output };
}
