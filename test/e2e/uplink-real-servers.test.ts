import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CreateMessageRequestSchema, ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { chromiumPath } from '../fixtures/chromium.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { startEverything } from '../fixtures/real-servers.ts';
import { until } from '../fixtures/until.ts';
import { type AgentProcess, startAgent } from '../fixtures/uplink-agent.ts';

const bin = (name: string) => fileURLToPath(new URL(`../../node_modules/.bin/${name}`, import.meta.url));
const everything = [bin('mcp-server-everything')];

let pb: TestPatchbay;
let directory: string;
let agent: AgentProcess | undefined;
const clients: Client[] = [];

beforeAll(async () => {
  pb = await startPatchbay();
  directory = await mkdtemp(join(tmpdir(), 'patchbay-local-'));
  await writeFile(join(directory, 'note.txt'), 'grüße 👋');
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  agent?.process.kill('SIGTERM');
  await agent?.exited;
});
afterAll(async () => {
  await pb?.stop();
  await rm(directory, { recursive: true, force: true });
});

interface Tool {
  name: string;
}

/** Pairs a real server, and says which tools it has through Patchbay. */
async function pairAndList(id: string, target: readonly string[]): Promise<Tool[]> {
  agent = startAgent(pb, id, target);
  await agent.saw('paired');
  const { tools } = await until(async () => {
    const answer = await pb.request(`/default/${id}/.tools`);
    return answer.status === 200 ? ((await answer.json()) as { tools: Tool[] }) : undefined;
  }, 30_000);
  return tools;
}

/** What the server lists when it is asked directly, by a client that declares what Patchbay declares in a tunnel. */
async function listDirectly([command, ...args]: readonly string[]): Promise<Tool[]> {
  const capabilities = { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} };
  const client = new Client({ name: 'direct', version: '1.0.0' }, { capabilities });
  clients.push(client);
  await client.connect(
    new StdioClientTransport({ command: command as string, args: [...args], stderr: 'ignore' }),
  );
  return (await client.listTools()).tools;
}

async function call(id: string, tool: string, args: object): Promise<string> {
  const answer = await pb.request(`/default/${id}/.tools/${tool}`, { method: 'POST', json: args });
  expect([tool, answer.status]).toEqual([tool, 200]);
  return JSON.stringify(await answer.json());
}

async function connectClient(id: string): Promise<Client> {
  const client = new Client(
    { name: 'caller', version: '1.0.0' },
    { capabilities: { sampling: {}, elicitation: {} } },
  );
  clients.push(client);
  const headers = { authorization: `Bearer ${pb.key}` };
  const url = new URL(`/mcp/default/${id}`, pb.url);
  await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers } }));
  return client;
}

const names = (tools: readonly Tool[]) => tools.map(({ name }) => name).sort();

describe('through our agent', { timeout: 60_000 }, () => {
  test('server-filesystem lists and does over stdio what it does directly, for 50 callers', async () => {
    const command = [bin('mcp-server-filesystem'), directory];
    const tools = await pairAndList('files', ['--', ...command]);
    expect(names(tools)).toEqual(names(await listDirectly(command)));
    const path = join(directory, 'note.txt');
    const reads = Array.from({ length: 50 }, () => call('files', 'read_text_file', { path }));
    for (const text of await Promise.all(reads)) expect(text).toContain('grüße 👋');
  });

  test('server-memory keeps what is put into it', async () => {
    const command = [bin('mcp-server-memory')];
    const file = join(directory, 'memory.json');
    const tools = await pairAndList('memory', ['--env', `MEMORY_FILE_PATH=${file}`, '--', ...command]);
    expect(names(tools)).toEqual(names(await listDirectly(command)));
    const entities = [{ name: 'Ada', entityType: 'person', observations: ['writes programs'] }];
    await call('memory', 'create_entities', { entities });
    expect(await call('memory', 'search_nodes', { query: 'Ada' })).toContain('writes programs');
  });

  test('server-everything asks its caller over stdio, and takes the answers', async () => {
    await pairAndList('everything', ['--', ...everything]);
    const client = await connectClient('everything');
    client.setRequestHandler(CreateMessageRequestSchema, async () => ({
      model: 'm',
      role: 'assistant',
      content: { type: 'text', text: 'sampled by the caller' },
    }));
    client.setRequestHandler(ElicitRequestSchema, async () => ({
      action: 'accept',
      content: { name: 'Ada' },
    }));
    const { tools } = await client.listTools();
    expect(names(tools)).toEqual(names(await listDirectly(everything)));
    const sampled = await client.callTool({
      name: 'trigger-sampling-request',
      arguments: { prompt: 'p', maxTokens: 5 },
    });
    expect(JSON.stringify(sampled.content)).toContain('sampled by the caller');
    const elicited = await client.callTool({ name: 'trigger-elicitation-request', arguments: {} });
    expect(JSON.stringify(elicited.content)).toContain('Ada');
    const heard: number[] = [];
    const long = await client.callTool(
      { name: 'trigger-long-running-operation', arguments: { duration: 1, steps: 4 } },
      undefined,
      { onprogress: ({ progress }) => void heard.push(progress) },
    );
    expect(JSON.stringify(long.content)).toContain('completed');
    expect(heard).toEqual([1, 2, 3, 4]);
  });
  test('server-everything over HTTP does the same as directly', async () => {
    const server = await startEverything();
    try {
      const tools = await pairAndList('over-http', [server.url]);
      expect(names(tools)).toEqual(names(await listDirectly(everything)));
      expect(await call('over-http', 'get-sum', { a: 20, b: 22 })).toContain('42');
    } finally {
      await server.stop();
    }
  });

  test.skipIf(chromiumPath === undefined)('@playwright/mcp opens a page in Chromium', async () => {
    const browser = ['--headless', '--no-sandbox', '--isolated', '--executable-path', chromiumPath as string];
    const command = [bin('playwright-mcp'), ...browser, '--output-dir', directory];
    const tools = await pairAndList('browser', ['--', ...command]);
    expect(names(tools)).toContain('browser_navigate');
    const url = 'data:text/html;charset=utf-8,<title>Local</title><h1>Grüße</h1>';
    expect(await call('browser', 'browser_navigate', { url })).toContain('Local');
    expect(await call('browser', 'browser_snapshot', {})).toContain('Grüße');
  });
});
