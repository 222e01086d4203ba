/**
 * `npm run demo`: Patchbay on a temporary directory and a free port, a real MCP server from npm, and the
 * vendor's SDK in between. Leaves nothing behind; exits 0 when every step worked.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import Smithery from '@smithery/api';
import { startEverything } from '../test/fixtures/real-servers.ts';

const apiKey = 'demo-key-0123456789abcdef';
const cleanUps: (() => Promise<unknown>)[] = [];

function show(title: string, value?: unknown): void {
  console.log(`\n\u25b8 ${title}`);
  if (value !== undefined) console.log(JSON.stringify(value, null, 2).replace(/^/gm, '  '));
}

async function startPatchbay(): Promise<string> {
  const dataDir = await mkdtemp(join(tmpdir(), 'patchbay-demo-'));
  cleanUps.push(() => rm(dataDir, { recursive: true, force: true }));
  const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
  const server = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main], {
    env: { ...process.env, PATCHBAY_DATA_DIR: dataDir, PATCHBAY_PORT: '0', PATCHBAY_API_KEY: apiKey },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  cleanUps.push(() => stop(server));
  for await (const line of createInterface({ input: server.stdout })) {
    const url = /Patchbay listens on (http:[^"]+)/.exec(line)?.[1];
    if (url) return url;
  }
  throw new Error('Patchbay ended before it listened.');
}

async function stop(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null) return;
  const ended = new Promise((resolve) => server.once('exit', resolve));
  server.kill('SIGTERM');
  await ended;
}

async function main(): Promise<void> {
  const url = await startPatchbay();
  show(`Patchbay runs at ${url}`);
  const everything = await startEverything();
  cleanUps.push(everything.stop);
  show(`@modelcontextprotocol/server-everything runs at ${everything.url}`);

  const client = new Smithery({ apiKey, baseURL: url, connectBaseURL: url });
  const namespace = 'default';
  const { connectionId } = await client.connections.create(namespace, {
    mcpUrl: everything.url,
    metadata: { userId: 'ada' },
  });
  show(
    `GET /connect/${namespace}/${connectionId}`,
    await client.connections.get(connectionId, { namespace }),
  );

  const { tools } = await client.connections.tools.list(connectionId, { namespace });
  show(`Its ${tools.length} tools`, tools.map(({ name }) => name).join(', '));

  const call = (toolPath: string, body: Record<string, unknown>) =>
    client.connections.tools.call(toolPath, { namespace, connectionId, body });
  show('Calling echo', await call('echo', { message: 'Hello from Patchbay' }));
  show('Calling get-sum', await call('get-sum', { a: 19, b: 23 }));

  const broken = await client.connections.set('broken', {
    namespace,
    mcpUrl: new URL('/nowhere', everything.url).href,
  });
  show('A connection that fails says why', { connectionId: broken.connectionId, status: broken.status });
}

try {
  await main();
  show('All of it worked.');
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
}
