import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect, echoCall, expectNoLeak, read, rest } from '../fixtures/fault.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { legacyServer, startUpstream, type Upstream } from '../fixtures/upstream.ts';

let pb: TestPatchbay;
let up: Upstream;
/** In Node a promise that rejects with nobody listening ends the process, and with it every other call. */
const unhandled: unknown[] = [];
const note = (error: unknown) => void unhandled.push(error);
beforeAll(async () => {
  process.on('unhandledRejection', note);
  pb = await startPatchbay();
  up = await startUpstream(legacyServer().handler);
  await connect(pb, 'c', up.url);
});
afterAll(async () => {
  process.off('unhandledRejection', note);
  await pb?.stop();
  await up?.stop();
});

test('a store that fails is a 500 without details on every route, never the end of the process', async () => {
  const { schema } = pb.store.db;
  await schema.alterTable('connections').renameTo('connections_gone').execute();
  const asked: [method: string, path: string, json?: unknown][] = [
    ['GET', '/connect/default'],
    ['GET', '/connect/default?name=c&metadata.a=b'],
    ['POST', '/connect/default', { mcpUrl: up.url }],
    ['GET', '/connect/default/c'],
    ['PUT', '/connect/default/c', { mcpUrl: up.url }],
    ['DELETE', '/connect/default/c'],
    ['GET', '/connect/default/.tools'],
    ['GET', '/connect/default/cold/.tools'],
    ['GET', '/connect/default/cold/.tools/echo'],
    ['POST', '/connect/default/cold/.tools/echo', {}],
    ['POST', '/connect/default/cold/mcp', echoCall()],
  ];
  try {
    for (const [method, path, json] of asked) {
      const { status, text } = await read(await pb.request(path, { method, ...(json ? { json } : {}) }));
      expect.soft(status, `${method} ${path}`).toBe(500);
      expect(text).not.toMatch(/connections_gone|no such table|relation|does not exist/);
      expectNoLeak(text, pb);
    }
  } finally {
    await schema.alterTable('connections_gone').renameTo('connections').execute();
  }
  // What was wrong is in the log, for the operator.
  expect(pb.logs.some((line) => /no such table|does not exist/.test(line))).toBe(true);
  await pb.request('/health').then(read);
  expect(unhandled).toEqual([]);
});

test('once the store works again, so does everything', async () => {
  expect((await rest(pb, 'c', { a: 1 })).json).toEqual({ content: [{ type: 'text', text: '{"a":1}' }] });
  expect((await read(await pb.request('/connect/default/c'))).json).toMatchObject({
    status: { state: 'connected' },
  });
});
