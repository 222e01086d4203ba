import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { LoadResult } from './load.ts';
import { median, percentile, rssBytes } from './measure.ts';
import type { Placement, Processes } from './processes.ts';
import { type Lab, openLab, type Subject } from './subjects.ts';

export interface Plan {
  processes: Processes;
  placement: Placement;
  connections: readonly number[];
  /** Measured time of one cell, all rounds together. */
  seconds: number;
  profileDir: string | undefined;
  progress: (line: string) => void;
}

interface SectionPlan {
  title: string;
  /** Of its files. */
  name: string;
  /** The server whose CPU per call the others are held against. */
  reference: string;
  /** What Patchbay's CPU per call may be of that (docs/performance.md); undefined where there is no target. */
  cpuTarget?: number;
  choose: (lab: Lab) => Subject[] | Promise<Subject[]>;
}

/** One line of the result: a server at a number of connections. CPU of its quiet rounds, all else the median. */
export interface Row extends LoadResult {
  connections: number;
  subject: string;
  /** CPU per call over that of the reference. */
  cpuRatio: number;
}

export interface Section {
  title: string;
  reference: string;
  cpuTarget: number | undefined;
  rows: Row[];
}

export interface StartResult {
  startMs: number;
  idleRssBytes: number;
}

/** Subjects take turns this often, so that a noisy minute meets all of them. */
const rounds = 12;
const firstWarmUpSeconds = 0.9;
const laterWarmUpSeconds = 0.1;
/**
 * Who shares the machine's cores with us doubles the CPU of a call for seconds at a time, and never lowers it. So the
 * cost of a call is that of the quiet rounds: the lower quartile, of every subject alike.
 */
const quietShare = 0.25;
/** Before the first cell: until the hot code is compiled. */
const compileSeconds = 2;
const starts = 5;
const idleMs = 2_000;

/** Sections that can be asked for, by name. */
export const suites: Record<string, SectionPlan[]> = {
  'tools-call': (['modern', 'legacy'] as const).map((era) => ({
    title: `tools/call, ${era} upstream`,
    name: `tools-call-${era}`,
    reference: 'floor',
    cpuTarget: 1.1,
    choose: (lab) => lab.toolsCall(era),
  })),
  events: [
    {
      title: 'tools/call answered with 100 events',
      name: 'events',
      reference: 'pass-through',
      cpuTarget: 1.3,
      choose: (lab) => lab.eventStream(),
    },
  ],
  'tools-list': [
    {
      title: 'tools/list with 500 tools',
      name: 'tools-list',
      reference: 'pass-through',
      choose: (lab) => lab.toolsList(),
    },
  ],
  session: [
    {
      title: 'new legacy session, tools/list and tools/call',
      name: 'session',
      reference: 'pass-through',
      choose: (lab) => lab.newSession(),
    },
  ],
  get: [
    {
      title: 'GET /connect/{namespace}/{connectionId}',
      name: 'get',
      reference: 'bare Fastify route',
      cpuTarget: 2,
      choose: (lab) => lab.getConnection(),
    },
  ],
  token: [
    {
      title: 'GET of a connection with a service token',
      name: 'token',
      reference: 'with an API key',
      cpuTarget: 1.2,
      choose: (lab) => lab.withToken(),
    },
  ],
  audit: [
    {
      title: 'tools/call with the audit',
      name: 'audit',
      reference: 'audit dropped',
      cpuTarget: 1.1,
      choose: (lab) => lab.withAudit(),
    },
  ],
};

/** Each section has processes of its own, so that memory and profiles are its own too. */
export async function measure(plan: Plan, section: SectionPlan): Promise<Section> {
  const { title, reference, name, cpuTarget, choose } = section;
  const { processes, placement, progress } = plan;
  const lab = await openLab(processes, placement, plan.profileDir && join(plan.profileDir, name));
  try {
    const subjects = await choose(lab);
    progress(`${title}: warming up`);
    for (const subject of subjects) {
      const { pid, origin, requests } = subject;
      await lab.run({ pid, origin, requests, connections: 32, warmUpSeconds: compileSeconds, seconds: 0.1 });
    }
    const rows: Row[] = [];
    for (const connections of plan.connections) {
      progress(`${title}: ${connections} connections`);
      rows.push(...(await measureCell(plan, lab, subjects, reference, connections)));
    }
    return { title, reference, cpuTarget, rows };
  } finally {
    await lab.close();
  }
}

async function measureCell(
  plan: Plan,
  lab: Lab,
  subjects: readonly Subject[],
  reference: string,
  connections: number,
): Promise<Row[]> {
  const results = new Map<string, LoadResult[]>(subjects.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const { name, pid, origin, requests } of subjects) {
      const warmUpSeconds = round === 0 ? firstWarmUpSeconds : laterWarmUpSeconds;
      const seconds = plan.seconds / rounds;
      results.get(name)?.push(await lab.run({ pid, origin, requests, connections, warmUpSeconds, seconds }));
    }
  }
  const combined = new Map([...results].map(([subject, ofSubject]) => [subject, combine(ofSubject)]));
  const { cpuMicrosPerCall: referenceMicros } = combined.get(reference) as LoadResult;
  return [...combined].map(([subject, result]) => {
    return { connections, subject, cpuRatio: result.cpuMicrosPerCall / referenceMicros, ...result };
  });
}

function combine(results: readonly LoadResult[]): LoadResult {
  const middle = (pick: (result: LoadResult) => number) => median(results.map(pick));
  const cpu = results.map(({ cpuMicrosPerCall }) => cpuMicrosPerCall);
  return {
    calls: results.reduce((sum, { calls }) => sum + calls, 0),
    requestsPerSecond: middle((result) => result.requestsPerSecond),
    p50Ms: middle((result) => result.p50Ms),
    p99Ms: middle((result) => result.p99Ms),
    cpuMicrosPerCall: percentile(cpu, quietShare),
    coreShare: middle((result) => result.coreShare),
    rssBytes: middle((result) => result.rssBytes),
    errors: results.reduce((sum, { errors }) => sum + errors, 0),
    firstError: results.find(({ firstError }) => firstError)?.firstError,
  };
}

/** From the start of the process to the first answer, on a data directory that was used before; and at rest. */
export async function measureStart(plan: Plan): Promise<StartResult> {
  const { processes, placement, progress } = plan;
  const profileDir = plan.profileDir && join(plan.profileDir, 'start');
  const dataDir = await processes.makeDataDir();
  const token = `bench-${randomBytes(16).toString('hex')}`;
  const times: number[] = [];
  let idleRssBytes = Number.NaN;
  progress(`start: ${starts} times`);
  try {
    // One more than is counted: the first makes the data directory.
    for (let start = 0; start <= starts; start++) {
      const patchbay = await processes.startPatchbay(dataDir, token, placement.underTest, profileDir);
      if (start > 0) times.push(patchbay.startMs);
      if (start === starts) {
        await new Promise((resolve) => setTimeout(resolve, idleMs));
        idleRssBytes = rssBytes(patchbay.pid);
      }
      await processes.stop(patchbay.child);
    }
  } finally {
    await processes.stopAll();
  }
  return { startMs: median(times), idleRssBytes };
}
