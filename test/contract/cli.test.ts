import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
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

interface Output {
  code: number;
  stdout: string;
  stderr: string;
}

function smithery(args: string[], apiKey = pb.key): Promise<Output> {
  const env = {
    PATH: process.env.PATH,
    HOME: pb.dataDir,
    SMITHERY_CONFIG_PATH: pb.dataDir,
    SMITHERY_BASE_URL: pb.url,
    SMITHERY_CONNECT_BASE_URL: pb.url,
    SMITHERY_API_KEY: apiKey,
  };
  return new Promise((resolve) => {
    execFile(cli, args, { env, cwd: pb.dataDir }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr });
    });
  });
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

  test('is told that uplinks are not supported yet', async () => {
    const { stdout, stderr } = await smithery(['mcp', 'add', upstream.url, '--id', 'local']);
    expect(stdout + stderr).toContain('uplink connections are not supported yet');
  });

  test('is told that its key is bad', async () => {
    const { stdout, stderr } = await smithery(['mcp', 'list'], 'not-a-key-of-this-server');
    expect(stdout + stderr).toMatch(/401/);
  });
});
