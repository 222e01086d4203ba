import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { put } from '../fixtures/fault.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { startProcess } from '../fixtures/process.ts';
import { freePort } from '../fixtures/real-servers.ts';
import { until } from '../fixtures/until.ts';
import { type AgentProcess, startAgent, stdioServer } from '../fixtures/uplink-agent.ts';
import { legacyServer, startUpstream } from '../fixtures/upstream.ts';

let pb: TestPatchbay;
let id: string;
let serial = 0;
const agents: AgentProcess[] = [];

beforeAll(async () => {
  pb = await startPatchbay({ limits: { uplinkPingMs: 500, drainMs: 2_000 } });
});
afterAll(() => pb?.stop());
beforeEach(() => {
  id = `laptop-${++serial}`;
});
afterEach(async () => {
  for (const agent of agents.splice(0)) {
    agent.process.kill('SIGCONT');
    agent.process.kill('SIGKILL');
    await agent.exited;
  }
});

/** Starts an agent of the local server that bends, unless `target` says otherwise. */
function agent(options: string[] = [], target = ['--', ...stdioServer], env = {}): AgentProcess {
  const started = startAgent(pb, id, [...options, ...target], env);
  agents.push(started);
  return started;
}

async function paired(...args: Parameters<typeof agent>): Promise<AgentProcess> {
  const started = agent(...args);
  await started.saw('paired');
  await until(async () => ((await connection()).serverInfo ? true : undefined));
  return started;
}

async function connection(): Promise<{ status: { state: string }; serverInfo?: { version: string } }> {
  return (await (await pb.request(`/default/${id}`)).json()) as never;
}

interface Called {
  status: number;
  text: string;
  body: { error?: string; content?: { text: string }[] };
}

async function call(tool: string, args: object = {}): Promise<Called> {
  const answer = await pb.request(`/default/${id}/.tools/${tool}`, { method: 'POST', json: args });
  const body = (await answer.json()) as Called['body'];
  return { status: answer.status, body, text: body.content?.[0]?.text ?? '' };
}

const state = async (wanted: string) =>
  until(async () => (await connection()).status.state === wanted, 20_000);
const isGone = (pid: number) =>
  until(() => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  });
const stop = async (running: AgentProcess, signal: NodeJS.Signals = 'SIGINT') => {
  running.process.kill(signal);
  return running.exited;
};

describe('an agent', () => {
  test('makes the connection, pairs the command and shows it, and ends with all of it at Ctrl-C', async () => {
    const running = await paired();
    expect(running.events()[0]).toMatchObject({ event: 'starting', server: stdioServer.join(' ') });
    expect(await connection()).toMatchObject({
      transport: 'uplink',
      status: { state: 'connected' },
      serverInfo: { name: 'stdio-fixture' },
    });
    const { text } = await call('echo', { a: 'grüße 👋 \u2028' });
    expect(JSON.parse(text)).toEqual({ a: 'grüße 👋 \u2028' });
    const pid = Number((await call('process')).text);
    expect(await stop(running)).toBe(0);
    expect(running.events().at(-1)).toMatchObject({ event: 'ended', exitCode: 0 });
    await isGone(pid);
    await state('disconnected');
    expect(await call('echo')).toMatchObject({ status: 503, body: { error: 'uplink_offline' } });
  });

  test('serves 50 callers at once, 10 MB, and 1,000 notifications in their order', async () => {
    await paired();
    const calls = Array.from({ length: 50 }, (_, n) => call('echo', { n }));
    for (const [n, { text }] of (await Promise.all(calls)).entries()) expect(JSON.parse(text)).toEqual({ n });
    const { text } = await call('large', { bytes: 10_000_000 });
    expect(Buffer.byteLength(text)).toBe(10_000_000);
    const answer = await pb.request(`/mcp/default/${id}`, {
      method: 'POST',
      headers: { accept: 'application/json, text/event-stream' },
      json: {
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: { name: 'notify', arguments: { count: 1_000 }, _meta: { progressToken: 't' } },
      },
    });
    const messages = (await answer.text())
      .split('\n')
      .filter((line) => line.startsWith('data: {'))
      .map((line) => JSON.parse(line.slice(6)) as { params?: { progress: number; progressToken: string } });
    const progress = messages.flatMap(({ params }) => params ?? []);
    expect(progress.map((one) => one.progress)).toEqual(Array.from({ length: 1_000 }, (_, n) => n + 1));
    expect(new Set(progress.map(({ progressToken }) => progressToken))).toEqual(new Set(['t']));
  });

  test('gives an answer that is too large as an error, and goes on', async () => {
    const running = await paired();
    const answer = await call('large', { bytes: 17_000_000 });
    expect(answer.status).toBe(422);
    expect(JSON.stringify(answer.body)).toContain('larger than');
    await running.saw('warning');
    expect((await call('echo', { a: 1 })).status).toBe(200);
  });

  test('passes what the server prints to the person, not to callers', async () => {
    const running = await paired();
    expect((await call('print', { line: 'Debugger attached.' })).text).toBe('printed');
    expect(await running.saw('warning')).toMatchObject({
      text: expect.stringContaining('Debugger attached.'),
    });
    await until(() => running.output().split('\n').includes('Debugger attached.'));
  });

  test('keeps its environment from the command, but for what is named', async () => {
    const secret = { GITHUB_TOKEN: 'ghp_secret', DATABASE_URL: 'db://x' };
    await paired(['--env', 'DATABASE_URL', '--env', 'MODE=test'], undefined, secret);
    const values = await Promise.all(
      ['PATCHBAY_API_KEY', 'GITHUB_TOKEN', 'DATABASE_URL', 'MODE'].map((name) => call('env', { name })),
    );
    expect(values.map(({ text }) => text)).toEqual(['undefined', 'undefined', 'db://x', 'test']);
  });

  test('comes back after a restart of Patchbay, with the same server', async () => {
    const own = await startPatchbay({
      env: { PATCHBAY_PORT: String(await freePort()) },
      limits: { drainMs: 2_000 },
    });
    try {
      const running = startAgent(own, 'laptop', ['--', ...stdioServer]);
      agents.push(running);
      const pidOf = async () => {
        const answer = await own.request('/default/laptop/.tools/process', { method: 'POST', json: {} });
        const { content } = (await answer.json()) as Called['body'];
        return content?.[0]?.text;
      };
      const pid = await until(pidOf, 20_000);
      await own.restart(async () => {
        // Refused at first.
        await running.saw('lost', 3);
      });
      await running.saw('paired', 2);
      expect(running.events().find(({ event }) => event === 'lost')).toMatchObject({
        reason: 'Patchbay restarts',
      });
      expect(await until(pidOf)).toBe(pid);
    } finally {
      await own.stop();
    }
  });

  test('starts a server again that was killed; who waited for it is told at once', async () => {
    const running = await paired();
    const pid = Number((await call('process')).text);
    const waiting = call('wait', { ms: 60_000 });
    await until(async () => (await call('echo')).status === 200);
    process.kill(pid, 'SIGKILL');
    expect(await waiting).toMatchObject({ status: 502, body: { error: 'upstream_failed' } });
    await running.saw('paired', 2);
    expect(running.events().map(({ event }) => event)).toContain('server_ended');
    await until(async () => Number((await call('process')).text) > 0);
    expect((await call('process')).text).not.toBe(String(pid));
  });

  test('that is killed leaves no server behind', async () => {
    const running = await paired();
    const pid = Number((await call('process')).text);
    running.process.kill('SIGKILL');
    await isGone(pid);
    await state('disconnected');
  });

  test('that was suspended is cut off, and comes back', async () => {
    const running = await paired();
    running.process.kill('SIGSTOP');
    await state('disconnected');
    running.process.kill('SIGCONT');
    await running.saw('paired', 2);
    await state('connected');
    expect((await call('echo')).status).toBe(200);
  });

  test('pairs a server over HTTP, tells callers when it is gone, and finds it again', async () => {
    const server = legacyServer({ sessions: true, tools: [{ name: 'echo' }] });
    const up = await startUpstream(server.handler);
    const { url } = up;
    const { host } = new URL(url);
    const running = await paired([], [url]);
    expect((await call('echo', { a: 1 })).text).toBe('{"a":1}');
    expect(up.received.every(({ headers }) => headers.host === host)).toBe(true);
    expect(up.received.some(({ headers }) => headers.authorization !== undefined)).toBe(false);
    // It was restarted, and knows no session.
    server.sessions.clear();
    await call('echo');
    await running.saw('server_ended');
    await running.saw('paired', 2);
    await until(async () => (await call('echo', { a: 2 })).text === '{"a":2}');
    await up.stop();
    const rpc = { jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} };
    const answer = await pb.request(`/mcp/default/${id}`, { method: 'POST', json: rpc });
    expect(await answer.json()).toMatchObject({
      error: { code: -32000, message: `${host}: nothing listens there` },
    });
    expect(await stop(running)).toBe(0);
  });
});

describe('agents and a real server', () => {
  test('come back after it was killed; who called meanwhile may call again', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'patchbay-killed-'));
    const port = String(await freePort());
    const env = {
      PATCHBAY_PORT: port,
      PATCHBAY_DATA_DIR: dataDir,
      PATCHBAY_API_KEY: pb.key,
    };
    const url = `http://127.0.0.1:${port}`;
    let server = startProcess([], env);
    await server.url();
    const running = startAgent({ url, key: pb.key }, 'laptop', ['--', ...stdioServer]);
    agents.push(running);
    const pidOf = async () => {
      const answer = await fetch(`${url}/default/laptop/.tools/process`, {
        method: 'POST',
        headers: { authorization: `Bearer ${pb.key}`, 'content-type': 'application/json' },
        body: '{}',
      });
      return ((await answer.json()) as Called['body']).content?.[0]?.text;
    };
    const pid = await until(pidOf, 20_000);
    server.process.kill('SIGKILL');
    await server.exited;
    await running.saw('lost', 2);
    server = startProcess([], env);
    await server.url();
    await running.saw('paired', 2);
    expect(await until(pidOf)).toBe(pid);
    server.process.kill('SIGTERM');
    await server.exited;
    await rm(dataDir, { recursive: true, force: true });
  });

  test('that take the uplink from each other end one by one, and the last one keeps it', async () => {
    const fighters = Array.from({ length: 4 }, () => agent(['--force']));
    const ended = fighters.map(({ exited }) => exited);
    await until(async () => {
      const still = fighters.filter(({ process: { exitCode } }) => exitCode === null);
      return still.length === 1 && (await call('echo')).status === 200;
    }, 30_000);
    const last = fighters.find(({ process: { exitCode } }) => exitCode === null) as AgentProcess;
    expect(await stop(last)).toBe(0);
    expect((await Promise.all(ended)).sort()).toEqual([0, 4, 4, 4]);
  });
});

describe('an agent ends with', () => {
  test('3 where another is paired, which keeps the uplink, and takes it over with --force: 4', async () => {
    const first = await paired();
    const second = agent();
    expect(await second.exited).toBe(3);
    expect(second.events().at(-1)).toMatchObject({ message: expect.stringContaining('Use --force') });
    expect((await call('echo')).status).toBe(200);
    const third = agent(['--force']);
    await third.saw('paired');
    expect(await first.exited).toBe(4);
    await until(async () => (await call('echo')).status === 200);
    expect(await stop(third)).toBe(0);
  });

  test('5 when the connection is deleted', async () => {
    const running = await paired();
    await pb.request(`/default/${id}`, { method: 'DELETE' });
    expect(await running.exited).toBe(5);
  });

  test('6 for a wrong key, at the start and after it was revoked', async () => {
    expect(await agent([], undefined, { PATCHBAY_API_KEY: 'pb_wrong' }).exited).toBe(6);
    const { token } = await pb.sdk().tokens.create({ policy: [{ operations: 'read' }] });
    expect(await agent([], undefined, { PATCHBAY_API_KEY: token }).exited).toBe(6);
  });

  test('7 for a command that is not there, and starts nothing', async () => {
    const running = agent([], ['--', 'no-such-command-anywhere']);
    expect(await running.exited).toBe(7);
    expect(running.events().at(-1)).toMatchObject({
      message: expect.stringContaining('no-such-command-anywhere'),
    });
  });

  test('1 where the id is that of another kind of connection, which stays', async () => {
    await put(pb, id, { mcpUrl: 'http://127.0.0.1:1/mcp' });
    expect(await agent().exited).toBe(1);
    expect(await connection()).toMatchObject({ mcpUrl: 'http://127.0.0.1:1/mcp' });
  });

  test('1 where no Patchbay is', async () => {
    const running = agent(['--url', `http://127.0.0.1:${await freePort()}`]);
    expect(await running.exited).toBe(1);
    expect(running.events().at(-1)).toMatchObject({ message: expect.stringContaining('nothing listens') });
  });

  test.each([
    [['--url', 'nowhere'], undefined, 'no address'],
    [[], [], 'What is to be paired?'],
    [[], ['http://127.0.0.1:1/mcp', 'more'], 'takes no arguments'],
    [['--env', 'NOT_SET'], undefined, '--env NOT_SET'],
    [['--colour'], undefined, '--colour'],
  ])('2 for %j %j', async (options, target, words) => {
    const running = agent(options, target);
    expect(await running.exited).toBe(2);
    expect(running.output()).toContain(words);
  });

  test('the code of the command with --no-restart, and deletes the connection with --rm', async () => {
    const running = await paired(['--no-restart', '--rm']);
    void call('exit', { code: 42 });
    expect(await running.exited).toBe(42);
    expect((await pb.request(`/default/${id}`)).status).toBe(404);
  });
});
