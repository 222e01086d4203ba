import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPatchbay, type TestPatchbay } from '../../fixtures/patchbay.ts';
import {
  folderOf,
  listScenarios,
  readResult,
  runSuite,
  type Scenario,
  type ScenarioResult,
} from '../official-suite.ts';

/** The suite splits the command at spaces, so it is relative to the root of the checkout. */
const driver = 'node --disable-warning=ExperimentalWarning test/conformance/client/driver.ts';
/** The scenario with a client metadata document expects this client id; nobody fetches it. */
const clientMetadataUrl = 'https://conformance-test.local/client-metadata.json';
/** All scenarios of a revision run at once, and the machine may be busy with other things besides. */
const scenarioMs = 120_000;

/** What came of a scenario with Patchbay as the client. */
export interface ClientResult extends ScenarioResult {
  /** What the driver printed. */
  output: string;
}

export interface RevisionResult {
  revision: string;
  scenarios: ClientResult[];
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
  const listed = await listScenarios(revision, 'client');
  const scenarios = listed
    .filter(({ name }) => name.startsWith('auth/'))
    .filter(({ name }) => only === undefined || name === only);
  if (scenarios.length === 0) return { revision, scenarios: [] };
  const directory = await mkdtemp(join(tmpdir(), 'patchbay-conformance-'));
  try {
    const output = await runSuite(
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
    const read = scenarios.map((scenario) => readClientResult(directory, scenario, output));
    return { revision, scenarios: await Promise.all(read) };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function readClientResult(
  directory: string,
  scenario: Scenario,
  suiteOutput: string,
): Promise<ClientResult> {
  const folder = folderOf(directory, scenario);
  const result = await readResult(folder, scenario);
  const read = (file: string) => readFile(join(folder, file), 'utf8');
  try {
    return { ...result, output: (await read('stdout.txt')) + (await read('stderr.txt')) };
  } catch {
    // The driver did not come to its end; then what the suite says may tell why.
    return { ...result, output: suiteOutput };
  }
}
