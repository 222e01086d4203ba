import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { choosePlacement, Processes } from './processes.ts';
import { describeMachine, makeReport, toMarkdown } from './report.ts';
import { measure, measureStart, type Plan, type Section, suites } from './suites.ts';
import { measureUplinks } from './uplinks.ts';

const usage = `npm run bench -- [options]
  --only <suites>        tools-call, events, tools-list, session, get, token, audit, uplinks, start; comma-separated (default: all)
  --connections <list>   concurrent connections, comma-separated (default: 1,32,256)
  --seconds <n>          measured time of each server at each number of connections (default: 6)
  --profile <directory>  write CPU profiles of Patchbay there, one folder a section; slows it down
  --json                 print JSON instead of Markdown`;

const names = [...Object.keys(suites), 'uplinks', 'start'];

const { values: given } = parseArgs({
  options: {
    only: { type: 'string', default: names.join(',') },
    connections: { type: 'string', default: '1,32,256' },
    seconds: { type: 'string', default: '6' },
    profile: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (given.help) {
  console.log(usage);
  process.exit(0);
}
const wanted = given.only.split(',');
const connections = given.connections.split(',').map(Number);
const seconds = Number(given.seconds);
if (
  !wanted.every((suite) => names.includes(suite)) ||
  !connections.every((count) => Number.isInteger(count) && count > 0) ||
  !(seconds > 0)
) {
  console.error(usage);
  process.exit(2);
}

const processes = new Processes();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    const exit = () => process.exit(1);
    processes.close().then(exit, exit);
  });
}

const placement = choosePlacement();
const machine = describeMachine(placement);
const plan: Plan = {
  processes,
  placement,
  connections,
  seconds,
  profileDir: given.profile === undefined ? undefined : resolve(given.profile),
  progress: (line) => console.error(line),
};
const sections: Section[] = [];
try {
  for (const [suite, planned] of Object.entries(suites)) {
    if (!wanted.includes(suite)) continue;
    for (const one of planned) sections.push(await measure(plan, one));
  }
  const uplinks = wanted.includes('uplinks') ? await measureUplinks(plan) : undefined;
  const start = wanted.includes('start') ? await measureStart(plan) : undefined;
  const report = makeReport(machine, sections, uplinks, start);
  console.log(given.json ? JSON.stringify(report, null, 2) : toMarkdown(report));
  // Over a target is no failure: machines are noisy. A wrong answer is.
  process.exitCode = report.errors > 0 ? 1 : 0;
} finally {
  await processes.stopAll();
}
