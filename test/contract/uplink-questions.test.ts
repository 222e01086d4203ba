import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { mcp, put } from '../fixtures/fault.ts';
import { until } from '../fixtures/until.ts';
import { answerAsServer, type Message, pair, type UplinkClient } from '../fixtures/uplink-client.ts';
import { useContract } from './harness.ts';

const contract = useContract({ limits: { uplinkInitializeMinMs: 50 } });
const clients: Client[] = [];
let id: string;
let serial = 0;
let machine: UplinkClient;
/** Calls that the server has, oldest first; it answers none by itself. */
let held: Message[];

beforeEach(async () => {
  id = `asks-${++serial}`;
  held = [];
  await put(contract.pb, id, { transport: 'uplink' });
  machine = await pair(contract.pb, id, {
    answer: (message) => {
      if (message.method !== 'tools/call') return answerAsServer(message);
      held.push(message);
      return undefined;
    },
  });
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  machine.socket.terminate();
});

async function caller(name: string, capabilities: Record<string, object>): Promise<Client> {
  const client = new Client({ name, version: '1.0.0' }, { capabilities });
  const url = new URL(`/connect/default/${id}/mcp`, contract.url);
  const headers = { authorization: `Bearer ${contract.pb.key}` };
  await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers } }));
  clients.push(client);
  return client;
}

const call = (client: Client, more = {}) => client.callTool({ name: 'echo', arguments: more });
const finish = (message: Message | undefined) =>
  machine.send({ id: message?.id, result: { content: [{ type: 'text', text: 'done' }] } });
const answerTo = (question: string) =>
  until(() => machine.received.find((message) => message.id === question));
const sampling = { messages: [], maxTokens: 5 };

test('what the server asks goes to the caller whose call is under way, and its answer back', async () => {
  const asker = await caller('asker', { sampling: {}, elicitation: {}, roots: {} });
  asker.setRequestHandler(CreateMessageRequestSchema, async () => ({
    model: 'm',
    role: 'assistant',
    content: { type: 'text', text: 'sampled' },
  }));
  asker.setRequestHandler(ElicitRequestSchema, async () => ({
    action: 'accept',
    content: { colour: 'red' },
  }));
  asker.setRequestHandler(ListRootsRequestSchema, async () => ({ roots: [{ uri: 'file:///home' }] }));
  const bystander = await caller('bystander', { sampling: {} });
  await bystander.listTools();
  const calling = call(asker);
  await until(() => held.length === 1);
  machine.send({ id: 's', method: 'sampling/createMessage', params: sampling });
  expect(await answerTo('s')).toMatchObject({ result: { content: { text: 'sampled' } } });
  const params = { message: 'Colour?', requestedSchema: { type: 'object', properties: {} } };
  machine.send({ id: 'e', method: 'elicitation/create', params });
  expect(await answerTo('e')).toMatchObject({ result: { action: 'accept', content: { colour: 'red' } } });
  machine.send({ id: 'r', method: 'roots/list' });
  expect(await answerTo('r')).toMatchObject({ result: { roots: [{ uri: 'file:///home' }] } });
  finish(held[0]);
  expect(await calling).toMatchObject({ content: [{ text: 'done' }] });
});

test('what no caller can be asked is refused at once, and so is what several could mean', async () => {
  machine.send({ id: 'idle', method: 'sampling/createMessage', params: sampling });
  expect(await answerTo('idle')).toMatchObject({ error: { code: -32601 } });
  const plain = await caller('plain', {});
  const calls = [call(plain)];
  await until(() => held.length === 1);
  machine.send({ id: 'unable', method: 'sampling/createMessage', params: sampling });
  expect(await answerTo('unable')).toMatchObject({ error: { code: -32601 } });
  for (const name of ['one', 'two']) calls.push(call(await caller(name, { sampling: {} })));
  await until(() => held.length === 3);
  machine.send({ id: 'several', method: 'sampling/createMessage', params: sampling });
  expect(await answerTo('several')).toMatchObject({
    error: { code: -32603, message: expect.stringMatching(/Several/) },
  });
  for (const message of held) finish(message);
  await Promise.all(calls);
});

test('a caller answers only what it was asked', async () => {
  const asked = await caller('asked', { sampling: {} });
  asked.setRequestHandler(CreateMessageRequestSchema, () => new Promise(() => {}));
  const calling = call(asked);
  await until(() => held.length === 1);
  machine.send({ id: 'mine', method: 'sampling/createMessage', params: sampling });
  await until(() => machine.received.length > 0);
  const other = await mcp(contract.pb, id, { jsonrpc: '2.0', id: 'mine', result: { forged: true } });
  expect(other.status).toBe(400);
  expect(machine.received.find((message) => message.id === 'mine')).toBeUndefined();
  finish(held[0]);
  await calling;
});

test('progress reaches the caller that asked for it, under its own token', async () => {
  const one = await caller('one', {});
  const two = await caller('two', {});
  const heard: Record<string, number[]> = { one: [], two: [] };
  const follow = (client: Client, name: string) =>
    client.callTool({ name: 'echo', arguments: { name } }, undefined, {
      onprogress: ({ progress }) => void heard[name]?.push(progress),
    });
  const calls = [follow(one, 'one'), follow(two, 'two')];
  await until(() => held.length === 2);
  for (const message of held) {
    const { arguments: args, _meta } = message.params as {
      arguments: { name: string };
      _meta: { progressToken: number };
    };
    const progress = args.name === 'one' ? 1 : 2;
    machine.send({
      method: 'notifications/progress',
      params: { progressToken: _meta.progressToken, progress },
    });
  }
  await until(() => heard.one?.length && heard.two?.length);
  for (const message of held) finish(message);
  await Promise.all(calls);
  expect(heard).toEqual({ one: [1], two: [2] });
});

test('changes at the server reach every session; logs only the one caller that they can be about', async () => {
  const heard: string[] = [];
  const both = [await caller('one', {}), await caller('two', {})];
  for (const [index, client] of both.entries()) {
    client.setNotificationHandler(
      ToolListChangedNotificationSchema,
      () => void heard.push(`change ${index}`),
    );
    client.setNotificationHandler(LoggingMessageNotificationSchema, () => void heard.push(`log ${index}`));
  }
  machine.send({ method: 'notifications/tools/list_changed' });
  await until(() => heard.length === 2);
  const [first, second] = both as [Client, Client];
  const calls = [call(first)];
  await until(() => held.length === 1);
  const log = { method: 'notifications/message', params: { level: 'info', data: 'x' } };
  machine.send(log);
  await until(() => heard.includes('log 0'));
  calls.push(call(second));
  await until(() => held.length === 2);
  machine.send(log);
  for (const message of held) finish(message);
  await Promise.all(calls);
  expect(heard.filter((what) => what.startsWith('log'))).toEqual(['log 0']);
});

test('1,000 notifications about one call arrive, in order', async () => {
  const client = await caller('one', {});
  const heard: unknown[] = [];
  client.setNotificationHandler(
    LoggingMessageNotificationSchema,
    ({ params }) => void heard.push(params.data),
  );
  const calling = call(client);
  await until(() => held.length === 1);
  for (let n = 0; n < 1000; n++)
    machine.send({ method: 'notifications/message', params: { level: 'info', data: n } });
  finish(held[0]);
  await calling;
  await until(() => heard.length === 1000);
  expect(heard).toEqual(Array.from({ length: 1000 }, (_, n) => n));
});
