import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createTestDatabase, openTestStore, type TestDatabase } from '../fixtures/database.ts';
import { echoCall, mcp, setUpConnected } from '../fixtures/fault.ts';
import { startProcess } from '../fixtures/process.ts';
import { until } from '../fixtures/until.ts';
import { legacyServer, startUpstream, type Upstream } from '../fixtures/upstream.ts';

let dataDir: string;
let database: TestDatabase;
let up: Upstream;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'patchbay-audit-'));
  database = await createTestDatabase(dataDir);
  up = await startUpstream(legacyServer().handler);
});
afterEach(async () => {
  await up.stop();
  await database.drop();
  await rm(dataDir, { recursive: true, force: true });
});

/** One process of the built program, with the connection `c`, and its caller. */
async function startServer() {
  const key = `test-${randomBytes(12).toString('hex')}`;
  const server = startProcess([], {
    PATCHBAY_PORT: '0',
    PATCHBAY_DATA_DIR: dataDir,
    PATCHBAY_API_KEY: key,
    ...database.env,
  });
  const url = await server.url();
  const send = async (method: string, path: string, body: unknown) => {
    const response = await fetch(`${url}/connect/default/c${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    await response.arrayBuffer();
    return response.status;
  };
  expect(await send('PUT', '', { mcpUrl: up.url })).toBe(201);
  const end = async (signal: 'SIGKILL' | 'SIGTERM') => {
    server.process.kill(signal);
    return server.exited;
  };
  return { call: () => send('POST', '/mcp', echoCall()), end };
}

async function countRows(): Promise<number> {
  const { db, close } = openTestStore(database);
  try {
    return (await db.selectFrom('audit').select('id').where('method', '=', 'tools/call').execute()).length;
  } finally {
    await close();
  }
}

test('a process that is killed has kept what it wrote, in the middle of more', async () => {
  // That the writing comes within a second is measured with a clock of its own: src/audit/log.test.ts.
  const server = await startServer();
  await Promise.all(Array.from({ length: 25 }, server.call));
  let isKilled = false;
  const caller = async () => {
    while (!isKilled) await server.call().catch(() => {});
  };
  const callers = Array.from({ length: 4 }, caller);
  const written = await until(async () => {
    const count = await countRows();
    return count > 25 ? count : undefined;
  });
  await server.end('SIGKILL');
  isKilled = true;
  await Promise.all(callers);
  expect(await countRows()).toBeGreaterThanOrEqual(written);
});

test('a process that is told to stop has lost none', async () => {
  const server = await startServer();
  await Promise.all(Array.from({ length: 50 }, server.call));
  expect(await server.end('SIGTERM')).toBe(0);
  expect(await countRows()).toBe(50);
});

test('a store that takes no audit does not stop calls, and has it all later', async () => {
  const limits = { auditFlushMs: 10, auditRetryMaxMs: 20 };
  const { pb, stop } = await setUpConnected({ limits });
  try {
    const { schema } = pb.store.db;
    await schema.alterTable('audit').renameTo('audit_gone').execute();
    expect((await mcp(pb, 'c', echoCall())).status).toBe(200);
    await until(() => pb.logs.some((line) => line.includes('the audit could not be written')));
    expect((await mcp(pb, 'c', echoCall())).status).toBe(200);
    await schema.alterTable('audit_gone').renameTo('audit').execute();
    await until(async () => {
      const calls = pb.store.db.selectFrom('audit').select('id').where('method', '=', 'tools/call');
      return (await calls.execute()).length === 2;
    });
  } finally {
    await stop();
  }
});
