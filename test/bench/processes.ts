import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { allowedCores } from './measure.ts';

/** Which cores the two sides of the bench have; undefined where nothing can be pinned. */
export interface Placement {
  /** One core: servers under test. */
  underTest: string | undefined;
  /** All others: load generator and upstream. */
  others: string | undefined;
}

/** Of util-linux; without it nothing is pinned. */
const pinCommand = 'taskset';

export function choosePlacement(): Placement {
  const cores = allowedCores();
  const canPin = spawnSync(pinCommand, ['-V']).status === 0;
  if (!canPin || cores.length < 2) return { underTest: undefined, others: undefined };
  // The last core, because interrupts tend to be served by the first.
  return { underTest: String(cores.at(-1)), others: cores.slice(0, -1).join(',') };
}

/** A process of the bench that listens on loopback. */
export interface Started {
  child: ChildProcess;
  pid: number;
  origin: string;
}

const builtMain = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const stopMs = 15_000;

/** The processes that the bench started and the directories that it made, so that none outlives it. */
export class Processes {
  readonly #running = new Set<ChildProcess>();
  readonly #directories: string[] = [];
  #closed = false;

  /** Starts one of the bench's own scripts, which reports its port over IPC. */
  async start(script: string, args: readonly string[], cores: string | undefined): Promise<Started> {
    const child = this.#spawn(['--disable-warning=ExperimentalWarning', script, ...args], cores, {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const [{ port }] = (await Promise.race([once(child, 'message'), failOnExit(child)])) as [
      { port: number },
    ];
    return { child, pid: child.pid as number, origin: `http://127.0.0.1:${port}` };
  }

  /** Starts the built Patchbay and waits for its first answer. */
  async startPatchbay(
    dataDir: string,
    token: string,
    cores: string | undefined,
    profileDir: string | undefined,
    limits = '',
  ): Promise<Started & { startMs: number }> {
    if (profileDir) await mkdir(profileDir, { recursive: true });
    const profiling = profileDir
      ? ['--cpu-prof', '--cpu-prof-interval=500', `--cpu-prof-dir=${profileDir}`]
      : [];
    const startedAt = performance.now();
    const child = this.#spawn(['--disable-warning=ExperimentalWarning', ...profiling, builtMain], cores, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        ...withoutSettings(process.env),
        PATCHBAY_PORT: '0',
        PATCHBAY_DATA_DIR: dataDir,
        PATCHBAY_API_KEY: token,
        // One key calls one connection as fast as it can; the quotas are counted, and not reached.
        PATCHBAY_LIMITS: [unreachedQuotas, limits].join(),
      },
    });
    const origin = await Promise.race([listeningOrigin(child), failOnExit(child)]);
    const health = await fetch(`${origin}/health`);
    const startMs = performance.now() - startedAt;
    if (health.status !== 200) throw new Error(`/health answered ${health.status}`);
    await health.arrayBuffer();
    return { child, pid: child.pid as number, origin, startMs };
  }

  /** Starts the built `patchbay uplink` with these arguments. */
  startAgent(
    origin: string,
    token: string,
    args: readonly string[],
    cores: string | undefined,
  ): ChildProcess {
    return this.#spawn(['--disable-warning=ExperimentalWarning', builtMain, 'uplink', ...args], cores, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...withoutSettings(process.env), PATCHBAY_URL: origin, PATCHBAY_API_KEY: token },
    });
  }

  /** Ends a process the way an operator does, and waits until it is gone (a profile is written on the way out). */
  async stop(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    const cutOff = setTimeout(() => child.kill('SIGKILL'), stopMs);
    await gone;
    clearTimeout(cutOff);
  }

  async makeDataDir(): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), 'patchbay-bench-'));
    this.#directories.push(directory);
    return directory;
  }

  /** Stops all and starts no more: the bench was interrupted. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.stopAll();
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#running].map((child) => this.stop(child)));
    // Synchronous, because a signal's exit may be next.
    for (const directory of this.#directories.splice(0)) rmSync(directory, { recursive: true, force: true });
  }

  #spawn(
    args: readonly string[],
    cores: string | undefined,
    options: Parameters<typeof spawn>[2],
  ): ChildProcess {
    if (this.#closed) throw new Error('interrupted');
    // taskset becomes the process that it starts, so the pid and the IPC channel are node's.
    const [command, ...rest] = [...(cores ? [pinCommand, '-c', cores] : []), process.execPath, ...args];
    const child = spawn(command as string, rest, options);
    this.#running.add(child);
    child.once('exit', () => this.#running.delete(child));
    return child;
  }
}

/** Waits for the log line that names the port; keeps reading, so that the pipe never fills. */
async function listeningOrigin(child: ChildProcess): Promise<string> {
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  return new Promise((resolve) => {
    lines.on('line', (line) => {
      const origin = /Patchbay listens on (http:\/\/[^"\s]+)/.exec(line)?.[1];
      if (origin) resolve(origin);
    });
  });
}

async function failOnExit(child: ChildProcess): Promise<never> {
  const [code, signal] = await once(child, 'exit');
  throw new Error(`${child.spawnargs.join(' ').slice(0, 200)} ended with ${code ?? signal}`);
}

/** The caller's own Patchbay settings must not reach the one under test. */
const unreachedQuotas = ['key', 'token', 'namespace', 'connection']
  .map((scope) => `${scope}RequestsPerMinute=100000000`)
  .join();

function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('PATCHBAY_')));
}
