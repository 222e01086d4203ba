import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createMCPClient } from '@ai-sdk/mcp';
import {
  Client as SecondClient,
  StreamableHTTPClientTransport as SecondTransport,
} from '@modelcontextprotocol/client';
import { Client as FirstClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as FirstTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RunningUpstream, startUpstream } from '../conformance/server/stage.ts';
import { testsOnPostgres } from '../fixtures/database.ts';
import { type RealServer, startEverything, startEverythingOverSse } from '../fixtures/real-servers.ts';
import { useContract } from './harness.ts';

// Clients that people use, in front of servers of every kind.

const contract = useContract();
const namespace = 'default';
let home: string;
let real: RealServer[] = [];
let modern: RunningUpstream;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'patchbay-interop-'));
  real = await Promise.all([startEverything(), startEverythingOverSse()]);
  modern = await startUpstream('modern');
  const urls = [...real.map(({ url }) => url), `http://127.0.0.1:${modern.port}/mcp`];
  for (const [i, id] of ['legacy', 'http-sse', 'modern'].entries()) {
    const { status } = await contract.sdk().connections.set(id, { namespace, mcpUrl: urls[i] as string });
    expect(status).toEqual({ state: 'connected' });
  }
});
afterAll(async () => {
  for (const server of real) await server.stop();
  modern?.process.kill();
  if (modern?.process.exitCode === null) await once(modern.process, 'exit');
  await rm(home, { recursive: true, force: true });
});

interface AnyClient {
  listTools: () => Promise<{ tools: { name: string }[] }>;
  callTool: (name: string, args: Record<string, unknown>) => Promise<unknown>;
  close: () => Promise<void>;
}

const headers = () => ({ authorization: `Bearer ${contract.pb.key}` });
const info = { name: 'interop', version: '1.0.0' };
const inspectorBin = fileURLToPath(new URL('../../node_modules/.bin/mcp-inspector', import.meta.url));

/** The Inspector's command line, which connects anew for each thing it does. */
function inspector(era: 'legacy' | 'modern'): (url: string) => Promise<AnyClient> {
  return async (url) => {
    const run = async (...args: string[]) => {
      const fixed = ['--cli', '--server-url', url, '--transport', 'http', '--format', 'json', '--quiet'];
      const options = ['--protocol-era', era, '--header', `Authorization: ${headers().authorization}`];
      const { stdout } = await promisify(execFile)(
        process.execPath,
        [inspectorBin, ...fixed, ...options, ...args],
        { env: { ...process.env, HOME: home } },
      );
      return JSON.parse(stdout).result;
    };
    return {
      listTools: () => run('--method', 'tools/list'),
      callTool: (name, args) =>
        run('--method', 'tools/call', '--tool-name', name, '--tool-args-json', JSON.stringify(args)),
      close: async () => {},
    };
  };
}

const clients: { client: string; connect: (url: string) => Promise<AnyClient> }[] = [
  {
    client: '@ai-sdk/mcp',
    connect: async (url) => {
      const client = await createMCPClient({ transport: { type: 'http', url, headers: headers() } });
      return {
        listTools: () => client.listTools(),
        callTool: (name, args) => client.callTool({ name, arguments: args }),
        close: () => client.close(),
      };
    },
  },
  { client: 'the MCP Inspector CLI of the legacy era', connect: inspector('legacy') },
  { client: 'the MCP Inspector CLI of the modern era', connect: inspector('modern') },
  {
    client: '@modelcontextprotocol/sdk 1.x',
    connect: async (url) => {
      const client = new FirstClient(info);
      const transport = new FirstTransport(new URL(url), { requestInit: { headers: headers() } });
      // The SDK's transport and its interface disagree under exactOptionalPropertyTypes.
      await client.connect(transport as Transport);
      return {
        listTools: () => client.listTools(),
        callTool: (name, args) => client.callTool({ name, arguments: args }),
        close: () => client.close(),
      };
    },
  },
  ...(['legacy', 'auto'] as const).map((mode) => ({
    client: `@modelcontextprotocol/client 2.x, ${mode}`,
    connect: async (url: string) => {
      const client = new SecondClient(info, { versionNegotiation: { mode } });
      await client.connect(new SecondTransport(new URL(url), { requestInit: { headers: headers() } }));
      return {
        listTools: () => client.listTools(),
        callTool: (name: string, args: Record<string, unknown>) => client.callTool({ name, arguments: args }),
        close: () => client.close(),
      };
    },
  })),
];

const echo = { tool: 'echo', args: { message: 'hello 🐙' }, says: 'Echo: hello 🐙' };
const servers = [
  { connectionId: 'legacy', ...echo },
  { connectionId: 'http-sse', ...echo },
  {
    connectionId: 'modern',
    tool: 'test_simple_text',
    args: {},
    says: 'This is a simple text response for testing.',
  },
];

// The database makes no difference to a client, and the Inspector takes seconds.
describe.skipIf(testsOnPostgres).each(clients)('$client', ({ connect }) => {
  async function use(path: string, work: (client: AnyClient) => Promise<void>): Promise<void> {
    const client = await connect(`${contract.url}${path}`);
    try {
      await work(client);
    } finally {
      await client.close();
    }
  }

  test.each(servers)('lists and calls the tools of a connection: $connectionId', async (server) => {
    const { connectionId, tool, args, says } = server;
    await use(`/mcp/${namespace}/${connectionId}`, async (client) => {
      const { tools } = await client.listTools();
      expect(tools.map(({ name }) => name)).toContain(tool);
      expect(await client.callTool(tool, args)).toMatchObject({ content: [{ type: 'text', text: says }] });
    });
  });

  test('lists and calls the tools of all connections at the endpoint of their namespace', async () => {
    await use(`/mcp/${namespace}`, async (client) => {
      const { tools } = await client.listTools();
      const names = tools.map(({ name }) => name);
      for (const { connectionId, tool, args, says } of servers) {
        const name = `${connectionId}.${tool}`;
        expect(names).toContain(name);
        expect(await client.callTool(name, args)).toMatchObject({ content: [{ type: 'text', text: says }] });
      }
    });
  });
});
