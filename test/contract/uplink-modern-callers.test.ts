import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { put } from '../fixtures/fault.ts';
import { until } from '../fixtures/until.ts';
import { answerAsServer, type Message, pair, type UplinkClient } from '../fixtures/uplink-client.ts';
import { useContract } from './harness.ts';

// Callers of the modern era in front of a legacy server behind a tunnel: the bridge, over sessions that are views of it.

const contract = useContract({ limits: { uplinkInitializeMinMs: 50 } });
const clients: Client[] = [];
let id: string;
let serial = 0;
let machine: UplinkClient;
let held: Message[];

beforeEach(async () => {
  id = `modern-${++serial}`;
  held = [];
  await put(contract.pb, id, { transport: 'uplink' });
  machine = await pair(contract.pb, id, {
    answer: (message) => {
      const { arguments: args } = (message.params ?? {}) as { arguments?: { hold?: boolean } };
      if (message.method !== 'tools/call' || !args?.hold) return answerAsServer(message);
      held.push(message);
      return undefined;
    },
  });
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  machine.socket.terminate();
});

async function caller(capabilities: Record<string, object> = {}): Promise<Client> {
  const client = new Client(
    { name: 'modern', version: '1.0.0' },
    { capabilities, versionNegotiation: { mode: { pin: '2026-07-28' } } },
  );
  const requestInit = { headers: { authorization: `Bearer ${contract.pb.key}` } };
  const url = new URL(`${contract.url}/mcp/default/${id}`);
  await client.connect(new StreamableHTTPClientTransport(url, { requestInit }));
  clients.push(client);
  return client;
}

const finish = (message: Message | undefined) =>
  machine.send({ id: message?.id, result: { content: [{ type: 'text', text: 'done' }] } });

test('a modern caller discovers, lists and calls, many at once', async () => {
  const client = await caller();
  expect((await client.listTools()).tools).toMatchObject([{ name: 'echo' }]);
  const calls = Array.from({ length: 50 }, (_, n) => client.callTool({ name: 'echo', arguments: { n } }));
  for (const [n, result] of (await Promise.all(calls)).entries()) {
    expect(result).toMatchObject({ content: [{ text: JSON.stringify({ n }) }] });
  }
});

test('what the server asks becomes input_required, and the reply reaches it', async () => {
  const client = await caller({ elicitation: { form: {} } });
  client.setRequestHandler('elicitation/create', async () => ({
    action: 'accept',
    content: { colour: 'red' },
  }));
  const calling = client.callTool({ name: 'echo', arguments: { hold: true } });
  await until(() => held.length === 1);
  const requestedSchema = { type: 'object', properties: { colour: { type: 'string' } } };
  machine.send({ id: 'e', method: 'elicitation/create', params: { message: 'Colour?', requestedSchema } });
  const reply = await until(() => machine.received.find((message) => message.id === 'e'));
  expect(reply).toMatchObject({ result: { action: 'accept', content: { colour: 'red' } } });
  finish(held[0]);
  expect(await calling).toMatchObject({ content: [{ text: 'done' }] });
});

test('a call under way fails at once when the tunnel ends, and the next one says that it is offline', async () => {
  const client = await caller();
  const calling = client.callTool({ name: 'echo', arguments: { hold: true } });
  calling.catch(() => {});
  await until(() => held.length === 1);
  machine.socket.terminate();
  await expect(calling).rejects.toThrow(/disconnected before it answered/);
  await until(async () => {
    const error = await client.callTool({ name: 'echo', arguments: {} }).catch((thrown: Error) => thrown);
    return /not connected/.test((error as Error).message);
  });
});
