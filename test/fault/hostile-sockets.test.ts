import { connect as connectSocket } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectNoLeak, portOf } from '../fixtures/fault.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';

let pb: TestPatchbay;
beforeAll(async () => {
  pb = await startPatchbay();
});
afterAll(async () => {
  await pb?.stop();
});

/** Whether the server closes, within `ms`, a socket on which it got `bytes` and nothing more. */
function closesWithin(ms: number, server: TestPatchbay, bytes: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectSocket(portOf(server), '127.0.0.1', () => socket.write(bytes));
    const patience = setTimeout(() => {
      resolve(false);
      socket.destroy();
    }, ms);
    socket.on('error', () => {});
    socket.resume();
    socket.on('close', () => {
      clearTimeout(patience);
      resolve(true);
    });
  });
}

test('a caller that never ends its request is cut off, whatever part it holds back', async () => {
  const own = await startPatchbay({ limits: { requestReceiveMs: 500 } });
  const head = `POST /connect/default HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${own.key}\r\n`;
  const held = {
    everything: '',
    'the rest of the first line': 'GET / HT',
    'the end of the head': head,
    'the rest of the body': `${head}content-type: application/json\r\ncontent-length: 100\r\n\r\n{"a`,
    'the rest of a chunk': `${head}content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"a`,
  };
  // Node looks for such sockets every 30 s, however short the limit.
  const closed = await Promise.all(
    Object.entries(held).map(async ([part, bytes]) => [part, await closesWithin(33_000, own, bytes)]),
  );
  expect((await own.request('/health')).status).toBe(200);
  expect(closed.filter(([, isClosed]) => !isClosed).map(([part]) => part)).toEqual([]);
  await own.stop();
});

test('a caller that connects and says nothing does not hold up the shutdown', async () => {
  const own = await startPatchbay();
  const closed = closesWithin(30_000, own, '');
  expect((await own.request('/health')).status).toBe(200);
  const startedAt = performance.now();
  await own.stop();
  await closed;
  // "Drains and exits within 5 s when idle."
  expect(performance.now() - startedAt).toBeLessThan(5_000);
});

test.each([
  'GARBAGE\r\n\r\n',
  'GET /health HTTP/1.1\r\n\r\n',
  'GET /health HTTP/1.1\r\nhost: evil.example\r\nhost: 127.0.0.1\r\n\r\n',
  'POST /connect/default HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
  'POST /connect/default HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}',
  `GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ${'a'.repeat(40_000)}\r\n\r\n`,
  `GET /${'a'.repeat(40_000)} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`,
  'GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nx\u0000y: a\r\n\r\n',
  'CONNECT 127.0.0.1:1 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
])('bytes that are no proper HTTP get a 4xx and no details: %j', async (bytes) => {
  const text = await new Promise<string>((resolve) => {
    let got = '';
    const socket = connectSocket(portOf(pb), '127.0.0.1', () => socket.end(bytes));
    socket.on('error', () => {});
    socket.on('data', (data) => {
      got += data;
    });
    socket.on('close', () => resolve(got));
  });
  // A socket closed without a word is an answer too.
  if (text !== '') expect(text).toMatch(/^HTTP\/1\.1 4\d\d /);
  expectNoLeak(text, pb);
  expect((await pb.request('/health')).status).toBe(200);
});
