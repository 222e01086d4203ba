import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Agent } from 'undici';
import { median, rssBytes } from '../bench/measure.ts';
import { choosePlacement, Processes } from '../bench/processes.ts';
import { startSseServer } from '../fixtures/sse-server.ts';
import { type Abandoned, abandonSessions } from './abandoned-sessions.ts';
import { type Endpoint, type LongCall, longCall, quickCalls } from './calls.ts';

const usage = `npm run soak -- [options]
  --minutes <n>      how long (default: 10)
  --connections <n>  connections that call without a pause meanwhile (default: 32)
  --long <n>         calls that last the whole time, with progress each second (default: 8)
  --sessions <n>     legacy sessions that are opened afterwards, and never ended, with a server of each kind (default: 10000)`;

const { values: given } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    connections: { type: 'string', default: '32' },
    long: { type: 'string', default: '8' },
    sessions: { type: 'string', default: '10000' },
  },
});
const minutes = Number(given.minutes);
const [connections, long, sessions] = [given.connections, given.long, given.sessions].map(Number) as [
  number,
  number,
  number,
];
if (!(minutes > 0) || ![connections, long, sessions].every(Number.isInteger)) {
  console.error(usage);
  process.exit(2);
}

/**
 * How much more memory there may be in the last third of the time than in both others, and after sessions than before: more is a
 * leak. A heap that was smaller for a while is none.
 */
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
  const authorization = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  /** Makes a connection; its MCP endpoint. */
  const connect = async (
    id: string,
    mcpUrl: string,
    headers: Record<string, string> = {},
  ): Promise<Endpoint> => {
    const put = await fetch(`${patchbay.origin}/connect/default/${id}`, {
      method: 'PUT',
      headers: authorization,
      body: JSON.stringify({ mcpUrl, headers }),
    });
    const text = await put.text();
    if (put.status !== 201 || !text.includes('"connected"'))
      throw new Error(`PUT answered ${put.status} ${text}`);
    return {
      dispatcher,
      origin: patchbay.origin,
      path: `/connect/default/${id}/mcp`,
      headers: authorization,
    };
  };
  const endpoint = await connect('modern', `${upstream.origin}/mcp`);

  const endAt = Date.now() + seconds * 1_000;
  const samples: number[] = [];
  const sampling = setInterval(() => samples.push(rssBytes(patchbay.pid)), 1_000);
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

  const secret = randomBytes(16).toString('hex');
  const legacyScript = fileURLToPath(new URL('../bench/upstream.ts', import.meta.url));
  const legacy = await processes.start(legacyScript, [secret], others);
  const sse = await startSseServer();
  const kinds: Record<string, Endpoint> = {
    'relayed to a legacy server': await connect('legacy', `${legacy.origin}/legacy`, { 'x-api-key': secret }),
    'translated for a modern server': endpoint,
    'with a server over HTTP+SSE': await connect('sse', sse.url),
  };
  const abandoned: [string, Abandoned][] = [];
  for (const [kind, itsEndpoint] of Object.entries(kinds)) {
    const outcome = await abandonSessions(itsEndpoint, patchbay.pid, sessions, allowedGrowth);
    abandoned.push([kind, outcome]);
    const { opened, errors, beforeBytes, afterBytes } = outcome;
    console.log(
      `${opened} sessions ${kind}, none ended: ${errors} errors, RSS ${mb(beforeBytes)} MB before, ${mb(afterBytes)} MB after`,
    );
  }
  await sse.stop();

  const failures = [
    ...abandoned.flatMap(([kind, { errors, firstError, beforeBytes, afterBytes }]) => [
      errors > 0 && `a session ${kind} was not opened: ${firstError}`,
      afterBytes > beforeBytes * allowedGrowth && `sessions ${kind} leave memory behind`,
    ]),
    quick.errors > 0 && `a call failed: ${quick.firstError}`,
    survived < long && 'a long call did not survive',
    told < seconds && 'progress was lost',
    last > Math.max(first, second) * allowedGrowth && 'memory grows',
  ].filter(Boolean);
  for (const failure of failures) console.error(failure);
  process.exitCode = failures.length > 0 ? 1 : 0;
} finally {
  await dispatcher.destroy();
  await processes.stopAll();
}
