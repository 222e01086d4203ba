import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import type { Limits } from '../../platform/limits.ts';
import { BadFrame, readFrame } from '../frame.ts';
import { LineReader } from './lines.ts';
import { CannotStart, type LocalServer, type ServerListener } from './local-server.ts';

export interface StdioCommand {
  command: string;
  args: readonly string[];
  env: Record<string, string>;
  /** Takes what the server writes on its stderr. */
  onStderr: (chunk: Buffer) => void;
}

/** How much of the beginning and the end of an answer that is too large is looked at for its id. */
const keptBytes = 256;

/** Runs a command, without a shell, and speaks with it in lines of JSON-RPC (MCP, stdio transport). */
export function createStdioServer(
  { command, args, env, onStderr }: StdioCommand,
  limits: Limits,
): LocalServer {
  let child: ChildProcess | undefined;

  function hear(started: ChildProcess, listener: ServerListener): void {
    const lines = new LineReader(limits.uplinkFrameBytes, keptBytes, {
      line(bytes) {
        try {
          listener.message(readFrame(bytes, limits.answerDepth));
        } catch (error) {
          if (!(error instanceof BadFrame)) throw error;
          // Servers that print on their stdout are common; what they say is lost, and all else works.
          listener.warning(`the server wrote what is no message: ${bytes.toString('utf8').slice(0, 80)}`);
        }
      },
      tooLong(head, tail) {
        const id = answeredId(head, tail);
        const text = `is larger than the ${limits.uplinkFrameBytes} bytes that an uplink carries`;
        if (id !== undefined)
          listener.message({ jsonrpc: '2.0', id, error: { code: -32603, message: `The answer ${text}.` } });
        listener.warning(`a message of the server ${text}`);
      },
    });
    started.stdout?.on('data', (chunk: Buffer) => lines.push(chunk));
    started.stderr?.on('data', onStderr);
    // A server that ends while it is written to says so by its end.
    started.stdin?.on('error', () => {});
    started.once('close', (code, signal) => {
      if (child !== started) return;
      child = undefined;
      listener.ended(signal ? `it was ended by ${signal}` : `it ended with ${code}`, code ?? 128);
    });
  }

  return {
    label: [command, ...args].map(quoted).join(' '),

    async start(listener) {
      const started = spawn(command, args, {
        env,
        stdio: 'pipe',
        windowsHide: true,
        // A group of its own: `npx` and shells leave their children behind otherwise, and Ctrl-C is ours to pass on.
        detached: process.platform !== 'win32',
      });
      try {
        await once(started, 'spawn');
      } catch (error) {
        throw new CannotStart(explain(error as NodeJS.ErrnoException, command));
      }
      child = started;
      hear(started, listener);
    },

    send(message) {
      const stdin = child?.stdin;
      // Some line readers, Node's own among them, also end a line at these two, which JSON may have as they are.
      const line = JSON.stringify(message).replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029');
      if (!stdin?.writable || stdin.write(`${line}\n`)) return undefined;
      return new Promise((resolve) => {
        stdin.once('drain', resolve).once('close', resolve);
      });
    },

    pause: () => void child?.stdout?.pause(),
    resume: () => void child?.stdout?.resume(),

    async stop() {
      const ending = child;
      if (!ending) return;
      child = undefined;
      const closed = once(ending, 'close');
      // MCP, stdio transport, shutdown: close its input, then SIGTERM, then SIGKILL.
      ending.stdin?.end();
      ending.stdout?.resume();
      for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
        if (await settles(closed, limits.agentStopMs)) break;
        kill(ending, signal);
      }
      await settles(closed, limits.agentStopMs);
      // What it started and left behind.
      kill(ending, 'SIGKILL');
    },
  };
}

async function settles(closed: Promise<unknown>, ms: number): Promise<boolean> {
  const lost = new AbortController();
  const late = wait(ms, false, { signal: lost.signal }).catch(() => false);
  const isClosed = await Promise.race([closed.then(() => true), late]);
  lost.abort();
  return isClosed;
}

/** The whole group of the process, where there are groups. */
function kill({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(process.platform === 'win32' ? pid : -pid, signal);
  } catch {
    // All of it has ended.
  }
}

/** The id of an answer of which only the ends are known; ours are numbers. */
function answeredId(head: Buffer, tail: Buffer): number | undefined {
  const [beginning, end] = [head.toString('latin1'), tail.toString('latin1')];
  if (/^\s*\{[^{]*"method"\s*:/.test(beginning)) return undefined;
  const found = /^\s*\{[^{[]*"id"\s*:\s*(\d+)/.exec(beginning) ?? /"id"\s*:\s*(\d+)[^{}[\]]*\}\s*$/.exec(end);
  return found ? Number(found[1]) : undefined;
}

function explain({ code, message }: NodeJS.ErrnoException, command: string): string {
  if (code === 'ENOENT') return `There is no command "${command}". Check how it is written, and PATH.`;
  if (code === 'EACCES') return `"${command}" may not be run: it is no program, or you lack the permission.`;
  return `"${command}" cannot be started: ${message}`;
}

/** An argument as a shell would need it, to show what is run. */
function quoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}
