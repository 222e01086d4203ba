import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, testsOnPostgres } from '../fixtures/database.ts';
import { connect, echoCall, mcp, type Rig, rest, setUpRig } from '../fixtures/fault.ts';
import type { StartOptions, TestPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';
import { type Handler, legacyServer, sendJson } from '../fixtures/upstream.ts';

/** The defaults are long: what ends a call here is what was set for its connection. */
const limits = { timeSettingMinMs: 50 };
const healthy = legacyServer({ sessions: true }).handler;

let rig: Rig;
beforeEach(async () => {
  rig = await setUpRig();
  return rig.stop;
});

async function start(options: StartOptions = {}): Promise<TestPatchbay> {
  return rig.start({ limits, ...options });
}

/** Serves tool calls with `serve`, and everything else in health. */
function serveCalls(serve: Handler): void {
  rig.up.handle((request, response) =>
    request.message?.method === 'tools/call' ? serve(request, response) : healthy(request, response),
  );
}

async function set(pb: TestPatchbay, settings: Record<string, number | null>): Promise<void> {
  const answer = await pb.request('/connect/default/c/.settings', { method: 'PATCH', json: settings });
  expect(answer.status).toBe(200);
}

function callNamespaceTool(pb: TestPatchbay): Promise<Response> {
  const params = { name: 'c.echo', arguments: {} };
  return pb.request('/mcp/default', {
    method: 'POST',
    json: { jsonrpc: '2.0', id: 1, method: 'tools/call', params },
  });
}

/** A call of a modern caller, which the bridge takes to the legacy upstream. */
function callOverBridge(pb: TestPatchbay) {
  const revision = '2026-07-28';
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': revision,
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const message = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', _meta } };
  const headers = { 'mcp-protocol-version': revision, 'mcp-method': 'tools/call', 'mcp-name': 'echo' };
  return mcp(pb, 'c', message, { headers });
}

const silentAfterEvent: Handler = (_request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write('data: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\n');
};

describe('what is set for a connection counts', () => {
  test('while an upstream is silent, over every way of calling', async () => {
    const pb = await start();
    await connect(pb, 'c', rig.up.url);
    expect((await rest(pb, 'c')).status).toBe(200);
    await set(pb, { callTimeoutMs: 150 });
    serveCalls(() => {});
    const answers = [
      await mcp(pb, 'c', echoCall()),
      await callOverBridge(pb),
      await rest(pb, 'c'),
      await callNamespaceTool(pb),
    ];
    for (const { status, headers } of answers) {
      expect(status).toBe(504);
      expect(headers.get('x-should-retry')).toBe('false');
    }
  });

  test('while a JSON answer does not end', async () => {
    const pb = await start();
    await connect(pb, 'c', rig.up.url);
    await set(pb, { callTimeoutMs: 300 });
    serveCalls((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).write('{"jsonrpc":"2.0",');
    });
    expect((await mcp(pb, 'c', echoCall())).status).toBe(504);
  });

  test('to the silence on an event stream', async () => {
    const pb = await start();
    await connect(pb, 'c', rig.up.url);
    await set(pb, { idleTimeoutMs: 150 });
    serveCalls(silentAfterEvent);
    const { status, text } = await mcp(pb, 'c', echoCall('mine'));
    expect(status).toBe(200);
    expect(text).toMatch(/"id":"mine","error":\{"code":50401/);
  });

  test('to the whole of an event stream that never falls silent', async () => {
    const pb = await start();
    await connect(pb, 'c', rig.up.url);
    await set(pb, { maxCallMs: 600 });
    serveCalls((request, response) => {
      void silentAfterEvent(request, response);
      const timer = setInterval(() => response.write(': still here\n\n'), 50);
      response.once('close', () => clearInterval(timer));
    });
    const { text } = await mcp(pb, 'c', echoCall('mine'));
    expect(text).toMatch(/still here/);
    expect(text).toMatch(/"id":"mine","error":\{"code":50401/);
  });

  test('to a longer call than the default lets through', async () => {
    const pb = await start({ limits: { ...limits, callTimeoutMs: 100 } });
    await connect(pb, 'c', rig.up.url);
    const slow: Handler = ({ message }, response) => {
      setTimeout(() => {
        sendJson(response, 200, { jsonrpc: '2.0', id: message?.id, result: { content: [] } });
      }, 600);
    };
    serveCalls(slow);
    expect((await mcp(pb, 'c', echoCall())).status).toBe(504);
    await set(pb, { callTimeoutMs: 30_000 });
    expect((await mcp(pb, 'c', echoCall())).status).toBe(200);
    expect((await rest(pb, 'c')).status).toBe(200);
    await set(pb, { callTimeoutMs: null });
    expect((await mcp(pb, 'c', echoCall())).status).toBe(504);
  });

  test('for that connection alone', async () => {
    const pb = await start({ limits: { ...limits, callTimeoutMs: 20_000 } });
    await connect(pb, 'c', rig.up.url);
    await connect(pb, 'other', rig.up.url);
    await set(pb, { callTimeoutMs: 100 });
    serveCalls(({ message }, response) => {
      setTimeout(() => {
        sendJson(response, 200, { jsonrpc: '2.0', id: message?.id, result: { content: [] } });
      }, 600);
    });
    const [own, others] = await Promise.all([mcp(pb, 'c', echoCall()), mcp(pb, 'other', echoCall())]);
    expect([own.status, others.status]).toEqual([504, 200]);
  });
});

describe.runIf(testsOnPostgres)('two processes on one PostgreSQL', () => {
  test('call by a changed limit from their next call on', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'patchbay-shared-'));
    const database = await createTestDatabase(dataDir);
    try {
      const one = await start({ database });
      const two = await start({ database });
      await connect(one, 'c', rig.up.url);
      expect((await mcp(two, 'c', echoCall())).status).toBe(200);
      serveCalls(() => {});
      await set(one, { callTimeoutMs: 150 });
      // The notification of the change comes a moment after it.
      const call = () => mcp(two, 'c', echoCall(), { signal: AbortSignal.timeout(1_000) });
      await until(async () => (await call()).status === 504);
    } finally {
      await rig.stopInstances();
      await database.drop();
      await rm(dataDir, { recursive: true, force: true });
    }
  });
});
