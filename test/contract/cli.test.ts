import { execFile, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';
import { legacyServer, startUpstream, type Upstream } from '../fixtures/upstream.ts';

const cli = fileURLToPath(new URL('../../node_modules/.bin/smithery', import.meta.url));

let pb: TestPatchbay;
let upstream: Upstream;

beforeAll(async () => {
  pb = await startPatchbay();
  upstream = await startUpstream(legacyServer({ sessions: true, tools: [{ name: 'repo.search' }] }).handler);
  await pb.request('/default/work', {
    method: 'PUT',
    json: { mcpUrl: upstream.url, metadata: { team: 'a' } },
  });
});
afterAll(async () => {
  await pb?.stop();
  await upstream?.stop();
});

const env = (apiKey = pb.key) => ({
  PATH: process.env.PATH,
  HOME: pb.dataDir,
  SMITHERY_CONFIG_PATH: pb.dataDir,
  SMITHERY_BASE_URL: pb.url,
  SMITHERY_CONNECT_BASE_URL: pb.url,
  SMITHERY_UPLINK_BASE_URL: pb.url,
  SMITHERY_API_KEY: apiKey,
});

interface Output {
  code: number;
  stdout: string;
  stderr: string;
}

function smithery(args: string[], apiKey = pb.key): Promise<Output> {
  return new Promise((resolve) => {
    execFile(cli, args, { env: env(apiKey), cwd: pb.dataDir }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr });
    });
  });
}

/** Runs `mcp add` for the upstream, which makes an uplink of it, as long as it lasts. */
function startUplink(id: string, ...more: string[]) {
  const child = spawn(cli, ['mcp', 'add', upstream.url, '--id', id, ...more], {
    env: env(),
    cwd: pb.dataDir,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk;
    });
  }
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { process: child, output: () => output, ended };
}

async function connection(id: string): Promise<Record<string, unknown>> {
  return (await (await pb.request(`/default/${id}`)).json()) as Record<string, unknown>;
}

describe("the vendor's command line", () => {
  test('lists namespaces and connections', async () => {
    expect(JSON.parse((await smithery(['namespace', 'list'])).stdout)).toMatchObject({ name: 'default' });
    expect(JSON.parse((await smithery(['mcp', 'list'])).stdout)).toMatchObject({
      id: 'work',
      mcpUrl: upstream.url,
      status: 'connected',
    });
    const filtered = await smithery(['mcp', 'list', '--metadata', '{"team":"b"}']);
    expect(filtered.stdout).not.toContain('work');
  });

  test('lists and calls tools, dotted names too', async () => {
    expect(JSON.parse((await smithery(['tool', 'list', 'work'])).stdout)).toMatchObject({
      name: 'repo.search',
    });
    const called = await smithery(['tool', 'call', 'work', 'repo.search', '{"q":"x"}']);
    expect(called.stdout).toContain('\\"q\\":\\"x\\"');
    expect(called.code).toBe(0);
  });

  test('adds and removes a connection, and shows why one fails', async () => {
    // No address of this machine that is not loopback is sure to exist, and loopback makes an uplink.
    const added = await smithery(['mcp', 'add', 'http://10.255.255.1/mcp', '--id', 'far']);
    expect(JSON.parse(added.stdout)).toMatchObject({ connectionId: 'far', status: { state: 'error' } });
    expect(JSON.parse((await smithery(['mcp', 'remove', 'far'])).stdout)).toEqual({ removed: ['far'] });
  });

  test('pairs a local server as an uplink, is replaced by force, and deletes it at Ctrl-C', async () => {
    const first = startUplink('local');
    await until(async () => (await connection('local')).serverInfo);
    expect(await connection('local')).toMatchObject({
      transport: 'uplink',
      mcpUrl: null,
      status: { state: 'connected' },
    });
    const called = await smithery(['tool', 'call', 'local', 'repo.search', '{"q":"near"}']);
    expect(called.stdout).toContain('near');
    const second = await smithery(['mcp', 'add', upstream.url, '--id', 'local']);
    expect([second.code, second.stdout + second.stderr]).toEqual([1, expect.stringContaining('409')]);
    const third = startUplink('local', '--force');
    expect(await first.ended).toBe(1);
    expect(first.output()).toContain('replaced');
    await until(async () => (await connection('local')).serverInfo);
    third.process.kill('SIGINT');
    await third.ended;
    await until(async () => (await pb.request('/default/local')).status === 404);
  });

  test('is told that its key is bad', async () => {
    const { stdout, stderr } = await smithery(['mcp', 'list'], 'not-a-key-of-this-server');
    expect(stdout + stderr).toMatch(/401/);
  });
});
