import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { request } from 'undici';
import { afterEach, expect, it } from 'vitest';
import { until } from '../../fixtures/until.ts';
import { startKeyProxy } from './key-proxy.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function startBehind(answer: (asked: IncomingMessage, response: ServerResponse) => void) {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const proxy = await startKeyProxy(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, 'the-key');
  cleanups.unshift(() => proxy.close());
  return `http://127.0.0.1:${proxy.port}`;
}

it('adds the key, and passes Host, Origin and the body on', async () => {
  const url = await startBehind(async (asked, response) => {
    const { host, origin, authorization } = asked.headers;
    const chunks = await asked.toArray();
    response.writeHead(202, { 'Mcp-Session-Id': 'one' });
    response.end(JSON.stringify({ host, origin, authorization, url: asked.url, body: chunks.join('') }));
  });
  const headers = { host: 'evil.example', origin: 'http://evil.example' };
  const answer = await request(`${url}/mcp?x=1`, { method: 'POST', headers, body: 'asked' });
  expect([answer.statusCode, answer.headers['mcp-session-id']]).toEqual([202, 'one']);
  expect(await answer.body.json()).toEqual({
    host: 'evil.example',
    origin: 'http://evil.example',
    authorization: 'Bearer the-key',
    url: '/mcp?x=1',
    body: 'asked',
  });
});

it('passes a stream on while it is open, and its end by the caller', async () => {
  let isGone = false;
  let stream: ServerResponse | undefined;
  const url = await startBehind((_asked, response) => {
    stream = response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    response.once('close', () => {
      isGone = true;
    });
  });
  const answer = await request(url);
  stream?.write('data: 1\n\n');
  const [first] = (await once(answer.body, 'data')) as [Buffer];
  expect(first.toString()).toBe('data: 1\n\n');
  expect(isGone).toBe(false);
  answer.body.on('error', () => {}).destroy();
  expect(await until(() => isGone)).toBe(true);
});
