import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { startPatchbay, type TestPatchbay } from '../../fixtures/patchbay.ts';
import type { Cell, Upstream } from './cell.ts';
import { type KeyProxy, startKeyProxy } from './key-proxy.ts';

const fixture = fileURLToPath(new URL('./fixture/serve.ts', import.meta.url));

/** What the suite is pointed at. */
export interface Stage {
  /** The MCP endpoint of a cell. */
  urlOf(cell: Cell): string;
  close(): Promise<void>;
}

/** A running upstream. */
export interface RunningUpstream {
  process: ChildProcess;
  port: number;
}

/** Starts the upstreams, and a Patchbay with a connection to each, behind a proxy that adds the key. */
export async function openStage(wanted: readonly Upstream[]): Promise<Stage> {
  const started = await Promise.all(wanted.map(async (era) => [era, await startUpstream(era)] as const));
  const running = new Map(started);
  const patchbay = await startPatchbay();
  const proxy = await startKeyProxy(patchbay.url, patchbay.key);
  const stage = {
    // By name, because the suite judges Host and Origin of local servers only.
    urlOf: ({ route, upstream }: Cell) =>
      route === 'direct'
        ? `http://localhost:${running.get(upstream)?.port}/mcp`
        : `http://localhost:${proxy.port}/connect/default/${upstream}/mcp`,
    close: () => close(running, patchbay, proxy),
  };
  try {
    for (const [era, { port }] of started) await connect(patchbay, era, port);
    return stage;
  } catch (error) {
    await stage.close();
    throw error;
  }
}

/** Starts the fixture upstream as a process; throws if it ends before it listens. */
export async function startUpstream(era: Upstream): Promise<RunningUpstream> {
  const child = fork(fixture, [era], { execArgv: ['--disable-warning=ExperimentalWarning'] });
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`the ${era} upstream ended with ${code} before it listened`);
  });
  const [{ port }] = (await Promise.race([once(child, 'message'), failed])) as [{ port: number }];
  failed.catch(() => {});
  return { process: child, port };
}

async function connect(patchbay: TestPatchbay, era: Upstream, port: number): Promise<void> {
  const json = { mcpUrl: `http://127.0.0.1:${port}/mcp` };
  const answer = await patchbay.request(`/connect/default/${era}`, { method: 'PUT', json });
  const connection = (await answer.json()) as { status?: { state: string } };
  if (connection.status?.state !== 'connected') {
    throw new Error(`the connection to the ${era} upstream is ${JSON.stringify(connection)}`);
  }
}

async function close(
  running: ReadonlyMap<Upstream, RunningUpstream>,
  patchbay: TestPatchbay,
  proxy: KeyProxy,
): Promise<void> {
  await proxy.close();
  await patchbay.stop();
  for (const { process } of running.values()) {
    const exited = once(process, 'exit');
    process.kill('SIGKILL');
    await exited;
  }
}
