import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { createConnection } from '@smithery/api/mcp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chromiumPath } from '../fixtures/chromium.ts';
import {
  type RealServer,
  startBehindMcpProxy,
  startBehindSupergateway,
  startEverything,
  startEverythingOverSse,
  startPlaywright,
} from '../fixtures/real-servers.ts';
import { startUpstream, type Upstream } from '../fixtures/upstream.ts';
import { useContract } from './harness.ts';

const contract = useContract();
const namespace = 'default';
let directory: string;
/** What the browser is sent to. */
let page: Upstream;
const servers: RealServer[] = [];

beforeAll(async () => {
  // The real path: server-filesystem compares what it is asked for with that.
  directory = await realpath(await mkdtemp(join(tmpdir(), 'patchbay-real-')));
  await writeFile(join(directory, 'note.txt'), 'written before');
  page = await startUpstream((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<title>A page to read</title>');
  });
});
afterAll(async () => {
  for (const server of servers) await server.stop();
  await page?.stop();
  await rm(directory, { recursive: true, force: true });
});

interface RealCase {
  what: string;
  start: () => Promise<RealServer>;
  serverName: RegExp;
  tools: string[];
  /** Two calls, in order, and what the text of each answer says. */
  calls: () => { name: string; args: Record<string, unknown>; says: RegExp }[];
  /** Arguments that the first tool refuses by itself. */
  badArgs: Record<string, unknown>;
}

const cases: RealCase[] = [
  {
    what: 'server-everything over HTTP',
    start: () => startEverything(),
    serverName: /everything/,
    tools: ['echo', 'get-sum'],
    calls: () => [
      { name: 'echo', args: { message: 'hello 🐙' }, says: /Echo: hello 🐙/ },
      { name: 'get-sum', args: { a: 2, b: 40 }, says: /42/ },
    ],
    badArgs: { message: 7 },
  },
  {
    what: 'server-everything over HTTP+SSE',
    start: () => startEverythingOverSse(),
    serverName: /everything/,
    tools: ['echo', 'get-sum'],
    calls: () => [
      { name: 'echo', args: { message: 'hello 🐙' }, says: /Echo: hello 🐙/ },
      { name: 'get-sum', args: { a: 2, b: 40 }, says: /42/ },
    ],
    badArgs: { message: 7 },
  },
  {
    what: 'server-filesystem behind mcp-proxy',
    start: () => startBehindMcpProxy('mcp-server-filesystem', [directory]),
    serverName: /filesystem/,
    tools: ['write_file', 'read_text_file', 'list_directory'],
    calls: () => [
      {
        name: 'write_file',
        args: { path: join(directory, 'new.txt'), content: 'zwölf' },
        says: /Successfully wrote/,
      },
      { name: 'read_text_file', args: { path: join(directory, 'new.txt') }, says: /^zwölf$/ },
    ],
    badArgs: { path: '/etc/not-allowed', content: 'x' },
  },
  {
    what: 'server-memory behind supergateway',
    start: () =>
      startBehindSupergateway('mcp-server-memory', [], { MEMORY_FILE_PATH: join(directory, 'memory.jsonl') }),
    serverName: /memory/,
    tools: ['create_entities', 'read_graph'],
    calls: () => [
      {
        name: 'create_entities',
        args: { entities: [{ name: 'Ada', entityType: 'person', observations: ['counts'] }] },
        says: /Ada|\[\]/,
      },
      { name: 'read_graph', args: {}, says: /"observations"/ },
    ],
    badArgs: { entities: 'none' },
  },
  {
    what: 'server-filesystem behind supergateway over HTTP+SSE',
    start: () => startBehindSupergateway('mcp-server-filesystem', [directory], {}, 'sse'),
    serverName: /filesystem/,
    tools: ['read_text_file', 'list_directory'],
    calls: () => [
      { name: 'read_text_file', args: { path: join(directory, 'note.txt') }, says: /^written before$/ },
      { name: 'list_directory', args: { path: directory }, says: /note\.txt/ },
    ],
    badArgs: { path: '/etc/not-allowed' },
  },
  {
    what: 'server-sequential-thinking behind supergateway',
    start: () => startBehindSupergateway('mcp-server-sequential-thinking', []),
    serverName: /sequential-thinking/,
    tools: ['sequentialthinking'],
    calls: () => [
      { name: 'sequentialthinking', args: thought(1), says: /"thoughtNumber": 1/ },
      { name: 'sequentialthinking', args: thought(2), says: /"thoughtNumber": 2/ },
    ],
    badArgs: { thought: 7 },
  },
];

const thought = (thoughtNumber: number) => ({
  thought: 'Connections first.',
  nextThoughtNeeded: thoughtNumber < 2,
  thoughtNumber,
  totalThoughts: 2,
});

if (chromiumPath) {
  cases.push({
    what: '@playwright/mcp over HTTP',
    start: () => startPlaywright(directory),
    serverName: /Playwright/,
    tools: ['browser_navigate', 'browser_snapshot'],
    calls: () => [
      { name: 'browser_navigate', args: { url: page.url }, says: /A page to read/ },
      { name: 'browser_evaluate', args: { function: '() => 19 + 23' }, says: /42/ },
    ],
    badArgs: { url: 7 },
  });
}

/** The text of a CallToolResult. */
function textOf(result: unknown): string {
  const { content } = result as { content: { type: string; text?: string }[] };
  return content.map(({ text }) => text ?? '').join('\n');
}

describe.each(cases)('$what', ({ start, serverName, tools, calls, badArgs }) => {
  let server: RealServer;
  let connectionId: string;
  beforeAll(async () => {
    server = await start();
    servers.push(server);
    const made = await contract
      .sdk()
      .connections.create(namespace, { mcpUrl: server.url, metadata: { real: true } });
    connectionId = made.connectionId;
  });

  test('is connected, and tells who it is', async () => {
    const stored = await contract.sdk().connections.get(connectionId, { namespace });
    expect(stored.status).toEqual({ state: 'connected' });
    expect(stored.serverInfo?.name).toMatch(serverName);
    expect(stored.serverInfo?.version).not.toBe('');
  });

  test('lists its tools and is called over .tools', async () => {
    const { connections } = contract.sdk();
    const listed = await connections.tools.list(connectionId, { namespace });
    expect(listed.tools.map(({ name }) => name)).toEqual(expect.arrayContaining(tools));
    for (const { name, args, says } of calls()) {
      expect(await connections.tools.get(name, { namespace, connectionId })).toMatchObject({ name });
      const result = await connections.tools.call(name, { namespace, connectionId, body: args });
      expect(result.isError ?? false).toBe(false);
      expect(textOf(result)).toMatch(says);
    }
  });

  test.each([{ handshake: false }, { handshake: true }])(
    'lists its tools and is called over the MCP endpoint, %o',
    async ({ handshake }) => {
      const { transport } = await createConnection({
        client: contract.sdk(),
        namespace,
        connectionId,
        handshake,
      });
      const client = new Client({ name: 'contract', version: '1.0.0' });
      // The SDK's transport and its interface disagree under exactOptionalPropertyTypes.
      await client.connect(transport as Transport);
      try {
        const listed = await client.listTools();
        expect(listed.tools.map(({ name }) => name)).toEqual(expect.arrayContaining(tools));
        for (const { name, args, says } of calls()) {
          expect(textOf(await client.callTool({ name, arguments: args }))).toMatch(says);
        }
      } finally {
        await client.close();
      }
    },
  );

  test('judges bad arguments itself, and stays connected', async () => {
    const [first] = calls();
    const answer = await contract.request(`/default/${connectionId}/.tools/${first?.name}`, {
      method: 'POST',
      json: badArgs,
    });
    // Servers differ in how they refuse: an error of the tool, or of the protocol.
    if (answer.status === 200) expect(answer.body).toMatchObject({ isError: true });
    else expect(answer).toMatchObject({ status: 422, body: { error: 'tool_error' } });
    const stored = await contract.sdk().connections.get(connectionId, { namespace });
    expect(stored.status).toEqual({ state: 'connected' });
  });
});

test('a server over HTTP+SSE that is killed and started again is reached again, in new sessions', async () => {
  const { connections } = contract.sdk();
  let server = await startEverythingOverSse();
  const { connectionId } = await connections.create(namespace, { mcpUrl: server.url });
  const echo = (message: string) =>
    connections.tools.call('echo', { namespace, connectionId, body: { message } });
  try {
    expect(textOf(await echo('before'))).toBe('Echo: before');
    await server.stop();
    server = await startEverythingOverSse(Number(new URL(server.url).port));
    await expect.poll(async () => textOf(await echo('after')), { timeout: 10_000 }).toBe('Echo: after');
  } finally {
    await server.stop();
    await connections.delete(connectionId, { namespace });
  }
});

test('all of them are in the namespace’s tools', async () => {
  const { body } = await contract.request('/connect/default/.tools');
  const envelopes = Object.values(body as Record<string, { tools?: { name: string }[] }>);
  const names = envelopes.flatMap(({ tools = [] }) => tools.map(({ name }) => name));
  expect(names).toEqual(expect.arrayContaining(cases.flatMap(({ tools }) => tools)));
});
