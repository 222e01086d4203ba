import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Agent } from 'undici';
import { median, rssBytes } from '../bench/measure.ts';
import { choosePlacement, Processes } from '../bench/processes.ts';
import { type LongCall, longCall, quickCalls } from './calls.ts';

const usage = `npm run soak -- [options]
  --minutes <n>      how long (default: 10)
  --connections <n>  connections that call without a pause meanwhile (default: 32)
  --long <n>         calls that last the whole time, with progress each second (default: 8)`;

const { values: given } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    connections: { type: 'string', default: '32' },
    long: { type: 'string', default: '8' },
  },
});
const [minutes, connections, long] = [given.minutes, given.connections, given.long].map(Number) as [
  number,
  number,
  number,
];
if (!(minutes > 0) || !Number.isInteger(connections) || !Number.isInteger(long)) {
  console.error(usage);
  process.exit(2);
}

/** How much more memory the last third of the time may take than the second: more is a leak, less is noise. */
const allowedGrowth = 1.1;

const processes = new Processes();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    const exit = () => process.exit(1);
    processes.close().then(exit, exit);
  });
}

const seconds = Math.round(minutes * 60);
const { underTest, others } = choosePlacement();
const token = `soak-${randomBytes(16).toString('hex')}`;
const dispatcher = new Agent({ connections: connections + long, headersTimeout: 0, bodyTimeout: 0 });
try {
  const script = fileURLToPath(new URL('./upstream.ts', import.meta.url));
  const upstream = await processes.start(script, [], others);
  const patchbay = await processes.startPatchbay(await processes.makeDataDir(), token, underTest, undefined);
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ mcpUrl: `${upstream.origin}/mcp` });
  const url = `${patchbay.origin}/connect/default/soak`;
  const put = await fetch(url, { method: 'PUT', headers, body });
  if (put.status !== 201) throw new Error(`PUT answered ${put.status}`);

  const endAt = Date.now() + seconds * 1_000;
  const samples: number[] = [];
  const sampling = setInterval(() => samples.push(rssBytes(patchbay.pid)), 1_000);
  const endpoint = { dispatcher, origin: patchbay.origin, path: '/connect/default/soak/mcp', headers };
  const [longCalls, quick] = await Promise.all([
    Promise.all(Array.from({ length: long }, () => longCall(endpoint, seconds))),
    quickCalls(endpoint, connections, endAt),
  ]);
  clearInterval(sampling);

  const third = Math.floor(samples.length / 3);
  const [first, second, last] = [0, 1, 2].map((n) => median(samples.slice(n * third, (n + 1) * third))) as [
    number,
    number,
    number,
  ];
  const survived = longCalls.filter(({ answered }: LongCall) => answered).length;
  const told = Math.min(...longCalls.map(({ progress }) => progress));
  const mb = (bytes: number) => Math.round(bytes / 1024 / 1024);
  console.log(`${seconds} s, ${connections} connections: ${quick.calls} calls, ${quick.errors} errors`);
  console.log(
    `${survived} of ${long} calls of ${seconds} s answered, at least ${told} progress messages each`,
  );
  console.log(
    `RSS by thirds of the time: ${mb(first)}, ${mb(second)}, ${mb(last)} MB; at most ${mb(Math.max(...samples))} MB`,
  );
  const failures = [
    quick.errors > 0 && `a call failed: ${quick.firstError}`,
    survived < long && 'a long call did not survive',
    told < seconds && 'progress was lost',
    last > second * allowedGrowth && 'memory grows',
  ].filter(Boolean);
  for (const failure of failures) console.error(failure);
  process.exitCode = failures.length > 0 ? 1 : 0;
} finally {
  await dispatcher.destroy();
  await processes.stopAll();
}
