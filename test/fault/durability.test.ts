import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../fixtures/database.ts';
import { type ServerProcess, startProcess } from '../fixtures/process.ts';
import { legacyServer, startUpstream, type Upstream } from '../fixtures/upstream.ts';

const rounds = 5;
const key = `test-${randomBytes(12).toString('hex')}`;

let dataDir: string;
let database: TestDatabase;
let up: Upstream;
let server: ServerProcess | undefined;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'patchbay-durable-'));
  database = await createTestDatabase(dataDir);
  up = await startUpstream(legacyServer().handler);
}, 120_000);
afterAll(async () => {
  await kill();
  await up?.stop();
  await database?.drop();
  await rm(dataDir, { recursive: true, force: true });
});

/** Starts the real server on the same data, as an operator would. */
async function start(): Promise<string> {
  server = startProcess([], {
    PATCHBAY_PORT: '0',
    PATCHBAY_DATA_DIR: dataDir,
    PATCHBAY_API_KEY: key,
    ...database.env,
  });
  return server.url();
}

async function kill(): Promise<void> {
  server?.process.kill('SIGKILL');
  await server?.exited;
  server = undefined;
}

async function send(url: string, method: string, path: string, body?: unknown): Promise<Response> {
  return fetch(`${url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

/** What the server has said is done, and must therefore still know. */
const acknowledged = {
  namespaces: new Set<string>(),
  /** The version of its metadata that each connection has at least. */
  connections: new Map<string, number>(),
  deleted: new Set<string>(),
};

/** Writes of every kind, many at once, until the server is gone. Returns how many were acknowledged. */
async function writeUntilKilled(url: string, round: number, killAfter: number): Promise<number> {
  let done = 0;
  let serial = 0;
  let killing: Promise<void> | undefined;
  const acknowledge = (note: () => void) => {
    note();
    if (++done >= killAfter) killing ??= kill();
  };
  const worker = async (kind: number) => {
    while (!killing) {
      const n = serial++;
      try {
        if (kind % 4 === 0) {
          const name = `ns-${round}-${n}`;
          const { status } = await send(url, 'PUT', `/namespaces/${name}`, {});
          if (status === 201) acknowledge(() => acknowledged.namespaces.add(name));
          continue;
        }
        const id = `c-${round}-${n}`;
        const path = `/connect/default/${id}`;
        const created = await send(url, 'PUT', path, {
          mcpUrl: up.url,
          metadata: { version: 1 },
          headers: { 'x-id': id },
        });
        if (created.status !== 201) continue;
        acknowledge(() => acknowledged.connections.set(id, 1));
        if (kind % 4 === 1) continue;
        const updated = await send(url, 'PUT', path, { metadata: { version: 2 } });
        if (updated.status === 200) acknowledge(() => acknowledged.connections.set(id, 2));
        if (kind % 4 === 2) continue;
        const version = acknowledged.connections.get(id) ?? 1;
        // Unknown from the moment it is asked for; known to be gone once that is said.
        acknowledged.connections.delete(id);
        const { status } = await send(url, 'DELETE', path);
        if (status === 200) acknowledge(() => acknowledged.deleted.add(id));
        else acknowledged.connections.set(id, version);
      } catch {
        // The server died under this write; nothing was said about it.
      }
    }
  };
  await Promise.all(Array.from({ length: 64 }, (_, kind) => worker(kind)));
  await killing;
  return done;
}

async function readAll(url: string): Promise<{ namespaces: Set<string>; connections: Map<string, number> }> {
  const listed = (await (await send(url, 'GET', '/namespaces')).json()) as { namespaces: { name: string }[] };
  const connections = new Map<string, number>();
  let cursor: string | null = null;
  do {
    const path: string = `/connect/default?limit=100${cursor === null ? '' : `&cursor=${cursor}`}`;
    const page = (await (await send(url, 'GET', path)).json()) as {
      connections: { connectionId: string; metadata: { version: number } }[];
      nextCursor: string | null;
    };
    for (const { connectionId, metadata } of page.connections)
      connections.set(connectionId, metadata.version);
    cursor = page.nextCursor;
  } while (cursor !== null);
  return { namespaces: new Set(listed.namespaces.map(({ name }) => name)), connections };
}

test(`killed in the middle of hundreds of writes, ${rounds} times, the server has every write that it acknowledged`, async () => {
  for (let round = 0; round < rounds; round++) {
    const writing = await start();
    const done = await writeUntilKilled(writing, round, 150 + Math.floor(Math.random() * 150));
    expect(done).toBeGreaterThanOrEqual(150);

    const url = await start();
    const found = await readAll(url);
    expect([...acknowledged.namespaces].filter((name) => !found.namespaces.has(name))).toEqual([]);
    expect([...acknowledged.deleted].filter((id) => found.connections.has(id))).toEqual([]);
    const lost = [...acknowledged.connections].filter(
      ([id, version]) => (found.connections.get(id) ?? 0) < version,
    );
    expect(lost).toEqual([]);
    await kill();
  }
  expect(acknowledged.namespaces.size).toBeGreaterThan(rounds);
  expect(acknowledged.deleted.size).toBeGreaterThan(rounds);

  // Found, and whole: the sealed headers of a survivor open, and its filter entries lead to it.
  const url = await start();
  const [id] = [...acknowledged.connections.keys()].slice(-1);
  const called = await send(url, 'POST', `/connect/default/${id}/.tools/echo`, { alive: true });
  expect(await called.json()).toEqual({ content: [{ type: 'text', text: '{"alive":true}' }] });
  expect(up.received.at(-1)?.headers['x-id']).toBe(id);
  for (const [survivor, version] of [...(await readAll(url)).connections].slice(0, 20)) {
    const filtered = (await (
      await send(url, 'GET', `/connect/default?limit=100&name=${survivor}&metadata.version=${version}`)
    ).json()) as { connections: { connectionId: string }[] };
    expect(filtered.connections.map(({ connectionId }) => connectionId)).toEqual([survivor]);
  }
  await kill();
}, 180_000);
