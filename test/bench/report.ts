import { cpus, loadavg } from 'node:os';
import type { Placement } from './processes.ts';
import type { Row, Section, StartResult } from './suites.ts';
import type { UplinkResult } from './uplinks.ts';

/** The targets of the project (docs/performance.md), beside those of the sections. */
const targets = {
  passThroughCpuRatio: 1.3,
  addedP50Ms: 0.4,
  p99Ratio: 2,
  startMs: 800,
  idleRssMb: 120,
  tunnelKb: 60,
  tunnelAddedMs: 1,
};

export interface Report {
  machine: { node: string; cpu: string; loadBefore: number; placement: Placement };
  sections: Section[];
  uplinks: UplinkResult | undefined;
  start: StartResult | undefined;
  verdicts: Verdict[];
  errors: number;
}

interface Verdict {
  what: string;
  measured: number;
  limit: number;
  unit: string;
  ok: boolean;
}

/** What the numbers depend on, read before the bench makes load of its own. */
export function describeMachine(placement: Placement): Report['machine'] {
  return {
    node: process.version,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    loadBefore: loadavg()[0] as number,
    placement,
  };
}

export function makeReport(
  machine: Report['machine'],
  sections: Section[],
  uplinks: UplinkResult | undefined,
  start: StartResult | undefined,
): Report {
  const verdicts = sections.flatMap(judgeSection);
  if (uplinks) {
    const { bytesPerTunnel, throughMs, straightMs } = uplinks;
    verdicts.push(
      judge(`${uplinks.tunnels} idle tunnels: memory of one`, bytesPerTunnel / 1024, targets.tunnelKb, 'kB'),
    );
    const added = `a call through a tunnel, ${throughMs.toFixed(2)} ms: added to ${straightMs.toFixed(2)} ms straight`;
    verdicts.push(judge(added, throughMs - straightMs, targets.tunnelAddedMs, 'ms'));
  }
  if (start) {
    verdicts.push(judge('start to first answer', start.startMs, targets.startMs, 'ms'));
    verdicts.push(judge('idle RSS', megabytes(start.idleRssBytes), targets.idleRssMb, 'MB'));
  }
  const errors = sections.flatMap(({ rows }) => rows).reduce((sum, row) => sum + row.errors, 0);
  return { machine, sections, uplinks, start, verdicts, errors };
}

function judgeSection({ title, reference, cpuTarget, rows }: Section): Verdict[] {
  const rowOf = (subject: string, connections: number) =>
    rows.find((row) => row.subject === subject && row.connections === connections);
  return rows.flatMap((row) => {
    const { subject, connections } = row;
    if (subject !== 'Patchbay') return [];
    const at = `${title}, ${connections} ${connections === 1 ? 'connection' : 'connections'}`;
    const verdicts: Verdict[] = [];
    if (cpuTarget) verdicts.push(judge(`${at}: CPU`, row.cpuRatio, cpuTarget, `× ${reference}`));
    if (!title.startsWith('tools/call, ')) return verdicts;
    const [direct, floor] = [rowOf('upstream itself', connections), rowOf('floor', connections)];
    const passThrough = rowOf('pass-through', connections);
    if (passThrough) {
      const ratio = row.cpuMicrosPerCall / passThrough.cpuMicrosPerCall;
      verdicts.push(judge(`${at}: CPU`, ratio, targets.passThroughCpuRatio, '× pass-through'));
    }
    if (direct && connections === 1) {
      verdicts.push(judge(`${at}: added p50`, row.p50Ms - direct.p50Ms, targets.addedP50Ms, 'ms'));
    }
    if (floor && connections === 32) {
      verdicts.push(judge(`${at}: p99`, row.p99Ms / floor.p99Ms, targets.p99Ratio, '× floor'));
    }
    return verdicts;
  });
}

function judge(what: string, measured: number, limit: number, unit: string): Verdict {
  return { what, measured, limit, unit, ok: measured <= limit };
}

export function toMarkdown({ machine, sections, verdicts, errors }: Report): string {
  const { placement } = machine;
  const pinned = placement.underTest
    ? `servers under test on core ${placement.underTest}, load generator and upstream on ${placement.others}`
    : 'nothing pinned (no taskset, or one core)';
  const lines = [
    `Node ${machine.node}, ${machine.cpu}; ${pinned}; load average before: ${machine.loadBefore.toFixed(2)}.`,
    '',
  ];
  for (const { title, reference, rows } of sections) {
    lines.push(
      `### ${title}`,
      '',
      `| connections | server | requests/s | p50 ms | p99 ms | CPU µs/call | × ${reference} | core busy | RSS MB |`,
      '| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
      ...rows.map(toLine),
      '',
    );
    const failed = rows.filter((row) => row.errors > 0);
    for (const { subject, connections, errors: count, firstError } of failed) {
      lines.push(`**${count} errors** of ${subject} at ${connections} connections, first: ${firstError}`, '');
    }
  }
  lines.push('| target | measured | at most | |', '| --- | ---: | ---: | --- |');
  for (const { what, measured, limit, unit, ok } of verdicts) {
    const digits = limit < 10 ? 2 : 0;
    lines.push(`| ${what} | ${measured.toFixed(digits)} ${unit} | ${limit} | ${ok ? 'ok' : 'over'} |`);
  }
  lines.push('', errors === 0 ? 'No errors: every answer was 200 with the right id.' : `${errors} errors.`);
  return lines.join('\n');
}

function toLine(row: Row): string {
  const cells = [
    row.connections,
    row.subject,
    Math.round(row.requestsPerSecond),
    row.p50Ms.toFixed(2),
    row.p99Ms.toFixed(2),
    row.cpuMicrosPerCall.toFixed(1),
    row.cpuRatio.toFixed(2),
    `${Math.round(row.coreShare * 100)} %`,
    megabytes(row.rssBytes).toFixed(0),
  ];
  return `| ${cells.join(' | ')} |`;
}

function megabytes(bytes: number): number {
  return bytes / 1024 / 1024;
}
