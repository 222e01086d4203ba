import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Agent, request } from 'undici';
import { percentile, rssBytes } from './measure.ts';
import type { Started } from './processes.ts';
import type { Plan } from './suites.ts';
import type { TunnelsWanted } from './tunnels.ts';

export interface UplinkResult {
  bytesPerTunnel: number;
  tunnels: number;
  /** Median of a call through the whole way, and of the same call straight over stdio. */
  throughMs: number;
  straightMs: number;
}

const tunnelsScript = fileURLToPath(new URL('./tunnels.ts', import.meta.url));
const stdioServer = fileURLToPath(new URL('../fixtures/stdio-server.ts', import.meta.url));
/** Before the count begins: code is compiled, and buffers of the process have their size. */
const warmUpTunnels = 100;
const tunnels = 1_000;
const restMs = 3_000;
const calls = 2_000;

const call = (id: number) =>
  `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"echo","arguments":{"city":"Lisbon"}}}`;

/** Memory of idle tunnels, and what a call through one costs over the same call straight to the server. */
export async function measureUplinks({ processes, placement, progress }: Plan): Promise<UplinkResult> {
  const token = `bench-${randomBytes(16).toString('hex')}`;
  const dataDir = await processes.makeDataDir();
  const patchbay = await processes.startPatchbay(dataDir, token, placement.underTest, undefined);
  try {
    progress(`uplinks: ${tunnels} idle tunnels`);
    const total = warmUpTunnels + tunnels;
    for (let n = 0; n < total; n++) await create(patchbay, token, `u${n}`);
    const machine = await processes.start(tunnelsScript, [], placement.others);
    await openTunnels(machine.child, { origin: patchbay.origin, token, from: 0, to: warmUpTunnels });
    const before = await restingBytes(patchbay);
    await openTunnels(machine.child, { origin: patchbay.origin, token, from: warmUpTunnels, to: total });
    const bytesPerTunnel = ((await restingBytes(patchbay)) - before) / tunnels;
    await processes.stop(machine.child);

    progress('uplinks: latency of a call');
    await create(patchbay, token, 'local');
    const target = ['--', process.execPath, stdioServer];
    const agent = processes.startAgent(
      patchbay.origin,
      token,
      ['default/local', '--json', ...target],
      placement.others,
    );
    await once(createInterface({ input: agent.stdout as NodeJS.ReadableStream }), 'line');
    const throughMs = await measureThrough(patchbay, token);
    await processes.stop(agent);
    return { bytesPerTunnel, tunnels, throughMs, straightMs: await measureStraight() };
  } finally {
    await processes.stopAll();
  }
}

async function create({ origin }: Started, token: string, id: string): Promise<void> {
  const response = await fetch(`${origin}/connect/default/${id}`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: '{"transport":"uplink"}',
  });
  await response.arrayBuffer();
  if (!response.ok) throw new Error(`Patchbay made no uplink: ${response.status}`);
}

async function openTunnels(machine: ChildProcess, wanted: TunnelsWanted): Promise<void> {
  const opened = once(machine, 'message');
  machine.send(wanted);
  await opened;
}

/** Memory once it has come to rest. */
async function restingBytes({ pid }: Started): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, restMs));
  return rssBytes(pid);
}

async function measureThrough({ origin }: Started, token: string): Promise<number> {
  const dispatcher = new Agent();
  const headers = {
    authorization: `Bearer ${token}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
  };
  const post = async (id: number) => {
    const options = { method: 'POST' as const, headers, body: call(id), dispatcher };
    const { statusCode, body } = await request(`${origin}/mcp/default/local`, options);
    const text = await body.text();
    return statusCode === 200 && text.includes('Lisbon');
  };
  // Until the agent has paired and its server is initialized.
  while (!(await post(0))) await new Promise((resolve) => setTimeout(resolve, 50));
  const median = await medianOf(async (id) => {
    if (!(await post(id))) throw new Error('a call through the tunnel was not answered');
  });
  await dispatcher.close();
  return median;
}

async function measureStraight(): Promise<number> {
  const server = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', stdioServer], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: server.stdout });
  try {
    return await medianOf(async (id) => {
      const answered = once(lines, 'line');
      server.stdin.write(`${call(id)}\n`);
      await answered;
    });
  } finally {
    server.kill();
  }
}

/** Median of `calls` calls, one after the other, of which the first tenth only warms up. */
async function medianOf(one: (id: number) => Promise<void>): Promise<number> {
  const times: number[] = [];
  for (let id = 1; id <= calls; id++) {
    const startedAt = performance.now();
    await one(id);
    if (id > calls / 10) times.push(performance.now() - startedAt);
  }
  return percentile(times, 0.5);
}
