import { randomBytes } from 'node:crypto';
import { watch } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase, testsOnPostgres } from '../fixtures/database.ts';
import { type ServerProcess, startProcess } from '../fixtures/process.ts';
import { legacyServer, startUpstream, type Upstream } from '../fixtures/upstream.ts';

const apiKey = 'fixed-key-0123456789';
const caller = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };

let dataDir: string;
let database: TestDatabase;
let upstream: Upstream;
let running: ServerProcess[];

beforeEach(async () => {
  const parent = await mkdtemp(join(tmpdir(), 'patchbay-rotation-'));
  dataDir = join(parent, 'data');
  database = await createTestDatabase(dataDir);
  upstream = await startUpstream(legacyServer().handler);
  running = [];
});
afterEach(async () => {
  for (const server of running) server.process.kill('SIGKILL');
  await Promise.all(running.map((server) => server.exited));
  await upstream.stop();
  await database.drop();
  await rm(join(dataDir, '..'), { recursive: true, force: true });
});

/** Starts the program; the master key is in its file unless `env` has one. */
function start(env: Record<string, string> = {}, args: string[] = []): ServerProcess {
  const { PATCHBAY_MASTER_KEY: _inFile, ...where } = database.env;
  const server = startProcess(args, {
    PATCHBAY_PORT: '0',
    PATCHBAY_DATA_DIR: dataDir,
    PATCHBAY_API_KEY: apiKey,
    ...where,
    ...env,
  });
  running.push(server);
  return server;
}

const rotate = (env: Record<string, string> = {}, ...args: string[]) =>
  start(env, ['keys', 'rotate', ...args]);

async function stop(server: ServerProcess): Promise<void> {
  server.process.kill('SIGTERM');
  await server.exited;
}

/** Stores connections with a sealed header, `count` of them. */
async function store(url: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const body = JSON.stringify({ mcpUrl: upstream.url, headers: { 'x-key': `sealed ${i}` } });
    const put = await fetch(`${url}/default/c${i}`, { method: 'PUT', headers: caller, body });
    expect(put.status).toBe(201);
  }
}

/** The sealed header as the upstream of connection `i` gets it. */
async function headerOf(url: string, i: number): Promise<unknown> {
  const answer = await fetch(`${url}/default/c${i}/.tools`, { headers: caller });
  expect(answer.status).toBe(200);
  return upstream.received.at(-1)?.headers['x-key'];
}

const keyFiles = async () => (await readdir(dataDir)).filter((file) => file.startsWith('master.key'));
const lastLine = (output: string) => output.trim().split('\n').at(-1) as string;

describe('keys rotate', () => {
  test('replaces the key file, and the server goes on with it', async () => {
    const server = start();
    await store(await server.url(), 2);
    if (!testsOnPostgres) {
      const refused = rotate();
      expect(await refused.exited).toBe(1);
      expect(refused.output()).toMatch(/Another Patchbay process/);
    }
    await stop(server);
    const before = await readFile(join(dataDir, 'master.key'), 'utf8');

    const rotated = rotate({}, '--json');
    expect(await rotated.exited).toBe(0);
    const keyFile = join(dataDir, 'master.key');
    expect(JSON.parse(lastLine(rotated.output()))).toEqual({ namespaces: 1, values: 2, keyFile });
    expect(rotated.output().includes('must be started again')).toBe(testsOnPostgres);
    const after = await readFile(keyFile, 'utf8');
    expect(after).not.toBe(before);
    expect(rotated.output()).not.toContain(after.trim());
    expect((await stat(keyFile)).mode & 0o777).toBe(0o600);
    expect(await keyFiles()).toEqual(['master.key']);
    expect(await headerOf(await start().url(), 1)).toBe('sealed 1');
  });

  test('takes the new key of the environment, and leaves the old one useless', async () => {
    const old = { PATCHBAY_MASTER_KEY: randomBytes(32).toString('base64') };
    const next = randomBytes(32).toString('base64');
    const server = start(old);
    await store(await server.url(), 1);
    await stop(server);

    const wrong = rotate({ ...old, PATCHBAY_NEW_MASTER_KEY: 'short' });
    expect(await wrong.exited).toBe(2);
    expect(wrong.output()).toMatch(/PATCHBAY_NEW_MASTER_KEY is not 32 bytes/);
    const rotated = rotate({ ...old, PATCHBAY_NEW_MASTER_KEY: next });
    expect(await rotated.exited).toBe(0);
    expect(rotated.output()).toMatch(/Namespaces with a new data key: 1\. Values sealed anew: 1\./);
    expect(rotated.output()).not.toContain(next);

    const refused = start(old);
    expect(await refused.exited).toBe(1);
    expect(refused.output()).toMatch(/keys were rotated since/);
    expect(await headerOf(await start({ PATCHBAY_MASTER_KEY: next }).url(), 0)).toBe('sealed 0');
    expect(await keyFiles()).toEqual([]);
  });

  test('makes a key for the environment, and prints it once', async () => {
    const old = { PATCHBAY_MASTER_KEY: randomBytes(32).toString('base64') };
    const server = start(old);
    await store(await server.url(), 1);
    await stop(server);
    const rotated = rotate(old);
    expect(await rotated.exited).toBe(0);
    const made = /export PATCHBAY_MASTER_KEY=(\S+)/.exec(rotated.output())?.[1] as string;
    expect(rotated.output().split(made)).toHaveLength(2);
    expect(await headerOf(await start({ PATCHBAY_MASTER_KEY: made }).url(), 0)).toBe('sealed 0');
  });

  // The moments at which the two files change places; the steps between are tested in src/platform/rotate-keys.test.ts.
  test.each(['master.key.next', 'master.key'])('may be killed when it has written %s', async (file) => {
    const values = 10;
    const server = start();
    await store(await server.url(), values);
    await stop(server);
    const rotation = rotate();
    const watcher = watch(dataDir, (_event, changed) => {
      if (changed === file) rotation.process.kill('SIGKILL');
    });
    await rotation.exited;
    watcher.close();

    const restarted = start();
    const url = await restarted.url();
    for (const i of [0, values - 1]) expect(await headerOf(url, i)).toBe(`sealed ${i}`);
    await stop(restarted);
    expect(await rotate().exited).toBe(0);
    expect(await keyFiles()).toEqual(['master.key']);
    const again = await start().url();
    for (let i = 0; i < values; i++) expect(await headerOf(again, i)).toBe(`sealed ${i}`);
  });
});
