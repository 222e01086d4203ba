import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  folderOf,
  listScenarios,
  type Revision,
  readResult,
  revisions,
  runSuite,
  type Scenario,
} from '../official-suite.ts';
import { type Cell, type CellResult, nameOf, type Route, routes, type Upstream, upstreams } from './cell.ts';
import { openStage, type Stage } from './stage.ts';
import { referenceOf } from './verdict.ts';

/** More would only wait for each other: a run of the suite, Patchbay and an upstream each keep a core busy. */
const atOnce = 2;

/** All that a scenario may take; the longest has a few seconds to do. */
const scenarioMs = 60_000;

/** Which part of the matrix is wanted. */
interface Selection {
  revisions: readonly Revision[];
  upstreams: readonly Upstream[];
  routes: readonly Route[];
}

/** The cells of a selection and the direct ones that they are held against, in the order of the report. */
export function cellsOf({
  revisions: wantedRevisions,
  upstreams: wantedUpstreams,
  routes: wantedRoutes,
}: Selection): Cell[] {
  const wanted = wantedRevisions.flatMap((revision) =>
    wantedUpstreams.flatMap((upstream) => wantedRoutes.map((route) => ({ revision, upstream, route }))),
  );
  const needed = new Set([...wanted, ...wanted.flatMap((cell) => referenceOf(cell) ?? [])].map(nameOf));
  return revisions
    .flatMap((revision) =>
      upstreams.flatMap((upstream) => routes.map((route): Cell => ({ revision, upstream, route }))),
    )
    .filter((cell) => needed.has(nameOf(cell)));
}

/** Runs the suite once for each cell, two at a time, and tells of each when it is done. */
export async function runCells(
  cells: readonly Cell[],
  scenario: string | undefined,
  done: (result: CellResult) => void,
): Promise<CellResult[]> {
  const scenarios = new Map<Revision, Scenario[]>();
  for (const { revision } of cells) {
    if (scenarios.has(revision)) continue;
    const listed = await listScenarios(revision, 'server');
    scenarios.set(
      revision,
      listed.filter(({ name }) => scenario === undefined || name === scenario),
    );
  }
  const stage = await openStage([...new Set(cells.map(({ upstream }) => upstream))]);
  try {
    const results: CellResult[] = [];
    const waiting = [...cells.entries()];
    const work = async (): Promise<void> => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const [at, cell] = next;
        const result = await runCell(stage, cell, scenarios.get(cell.revision) ?? [], scenario);
        results[at] = result;
        done(result);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, work));
    return results;
  } finally {
    await stage.close();
  }
}

async function runCell(
  stage: Stage,
  cell: Cell,
  scenarios: readonly Scenario[],
  only: string | undefined,
): Promise<CellResult> {
  if (scenarios.length === 0) return { ...cell, scenarios: [], tookMs: 0 };
  const directory = await mkdtemp(join(tmpdir(), 'patchbay-conformance-'));
  const startedAt = performance.now();
  try {
    await runSuite([
      'server',
      ...['--url', stage.urlOf(cell)],
      ...['--timeout', String(scenarioMs)],
      ...['--output-dir', directory],
      ...(only
        ? ['--scenario', only, '--spec-version', cell.revision, '--force']
        : ['--requirements', cell.revision]),
    ]);
    const read = scenarios.map((scenario) => readResult(folderOf(directory, scenario, 'server-'), scenario));
    return { ...cell, scenarios: await Promise.all(read), tookMs: performance.now() - startedAt };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
