import { beforeEach, describe, expect, test } from 'vitest';
import {
  type Answer,
  connect,
  count,
  echoCall,
  mcp,
  put,
  type Rig,
  read,
  rest,
  setUpRig,
} from '../fixtures/fault.ts';
import type { StartOptions, TestPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';
import { type Handler, legacyServer, modernServer } from '../fixtures/upstream.ts';

/** Opens at the third failure, however fast they come; no background probe heals what these tests break. */
const limits = {
  circuitFailures: 3,
  circuitFailingMs: 0,
  circuitOpenMinMs: 200,
  circuitOpenMaxMs: 400,
  healMinMs: 600_000,
  healMaxMs: 600_000,
};
const healthy = legacyServer({ sessions: true }).handler;

let rig: Rig;
beforeEach(async () => {
  rig = await setUpRig();
  rig.up.handle(healthy);
  return rig.stop;
});

async function start(options: StartOptions = {}): Promise<TestPatchbay> {
  const pb = await rig.start({ ...options, limits: { ...limits, ...options.limits } });
  await connect(pb, 'c', rig.up.url);
  expect((await rest(pb, 'c')).status).toBe(200);
  return pb;
}

const answering =
  (status: number, headers: Record<string, string> = {}): Handler =>
  (_request, response) =>
    void response.writeHead(status, headers).end();

const revision = '2026-07-28';
const modernHeaders = { 'mcp-protocol-version': revision, 'mcp-method': 'tools/call', 'mcp-name': 'echo' };
const modernCall = {
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: {
    name: 'echo',
    _meta: {
      'io.modelcontextprotocol/protocolVersion': revision,
      'io.modelcontextprotocol/clientCapabilities': {},
    },
  },
};
const ways: { way: string; call: (pb: TestPatchbay) => Promise<Answer> }[] = [
  { way: 'the MCP endpoint', call: (pb) => mcp(pb, 'c', echoCall()) },
  { way: 'the bridge', call: (pb) => mcp(pb, 'c', modernCall, { headers: modernHeaders }) },
  { way: '.tools', call: (pb) => rest(pb, 'c') },
  { way: 'a listing of tools', call: async (pb) => read(await pb.request('/connect/default/c/.tools')) },
  {
    way: 'the endpoint of the namespace',
    call: async (pb) => {
      const params = { name: 'c.echo', arguments: {} };
      const json = { jsonrpc: '2.0', id: 1, method: 'tools/call', params };
      return read(await pb.request('/mcp/default', { method: 'POST', json }));
    },
  },
];

async function open(pb: TestPatchbay, serve: Handler = answering(503)): Promise<void> {
  rig.up.handle(serve);
  for (let i = 0; i < 3; i++) expect((await mcp(pb, 'c', echoCall())).status).toBeGreaterThanOrEqual(502);
}

/** The calls that reached the upstream. Probes may come at any time, and are none. */
const toUpstream = () => count(rig.up, 'tools/call') + count(rig.up, 'tools/list');

describe('the circuit of a connection', () => {
  test.each(ways)(
    'fails calls over $way at once while it is open, without the upstream',
    async ({ call }) => {
      const pb = await start({ limits: { circuitOpenMinMs: 60_000, circuitOpenMaxMs: 60_000 } });
      await open(pb);
      const before = toUpstream();
      const { status, headers, text } = await call(pb);
      expect(status, text).toBe(503);
      expect(text).toMatch(/3 times in a row \(upstream answered 503 at \/mcp\)/);
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(30);
      expect(headers.get('x-should-retry')).toBeNull();
      expect(toUpstream()).toBe(before);
    },
  );

  test.each(ways)('closes by the first call over $way after the cool-down', async ({ call }) => {
    const pb = await start();
    await open(pb);
    rig.up.handle(healthy);
    await until(async () => (await call(pb)).status === 200);
    expect((await mcp(pb, 'c', echoCall())).status).toBe(200);
  });

  test('lets just one call try after the cool-down', async () => {
    const pb = await start({ limits: { circuitOpenMinMs: 2_000, circuitOpenMaxMs: 2_000 } });
    await open(pb);
    const held: (() => void)[] = [];
    rig.up.handle(async (request, response) => {
      // A probe that found it well would close the circuit.
      if (request.message?.method !== 'tools/call') return answering(503)(request, response);
      if (held.length === 0) {
        await new Promise<void>((resolve) => {
          held.push(resolve);
        });
      }
      return healthy(request, response);
    });
    const statuses: number[] = [];
    let calls = 0;
    const call = async (answer: Promise<Answer>) => {
      calls++;
      statuses.push((await answer).status);
    };
    await until(() => {
      void call(mcp(pb, 'c', echoCall()));
      void call(rest(pb, 'c'));
      return held.length > 0;
    });
    await until(() => statuses.length === calls - 1);
    expect(new Set(statuses)).toEqual(new Set([503]));
    for (const release of held) release();
    await until(() => statuses.length === calls);
    expect(statuses.at(-1)).toBe(200);
    expect((await rest(pb, 'c', {}, { signal: AbortSignal.timeout(20_000) })).status).toBe(200);
  });

  test('opens against one that nobody listens at, or that never answers', async () => {
    const pb = await start({ limits: { callTimeoutMs: 300, discoverMs: 300, probeMs: 600 } });
    await open(pb, () => {});
    expect((await mcp(pb, 'c', echoCall())).text).toMatch(
      /3 times in a row \(upstream did not answer in time/,
    );
    await put(pb, 'c', {});
    await rig.up.stop();
    await open(pb);
    expect((await mcp(pb, 'c', echoCall())).text).toMatch(/3 times in a row \(connection refused/);
  });

  test.each([
    { what: '400', serve: answering(400) },
    { what: '401', serve: answering(401) },
    { what: '404', serve: answering(404) },
    { what: '500', serve: answering(500) },
    {
      what: 'HTML',
      serve: ((_request, response) =>
        void response.writeHead(200, { 'content-type': 'text/html' }).end('<p>')) as Handler,
    },
    {
      what: 'an event stream without an answer',
      serve: ((_request, response) =>
        void response.writeHead(200, { 'content-type': 'text/event-stream' }).end(': \n\n')) as Handler,
    },
  ])('is not opened by $what', async ({ serve }) => {
    const pb = await start();
    rig.up.handle((request, response) =>
      request.message?.method === 'tools/call' ? serve(request, response) : healthy(request, response),
    );
    for (let i = 0; i < 4; i++) {
      expect((await mcp(pb, 'c', echoCall())).status).not.toBe(503);
      expect((await rest(pb, 'c')).status).not.toBe(503);
    }
    rig.up.handle(healthy);
    expect((await mcp(pb, 'c', echoCall())).status).toBe(200);
  });

  test('is its own: what one tenant\u2019s credentials bring about does not fail the calls of another', async () => {
    const pb = await start();
    await connect(pb, 'bad', rig.up.url, { headers: { 'x-key': 'poison' } });
    rig.up.handle((request, response) =>
      request.headers['x-key'] === 'poison' ? void response.socket?.destroy() : healthy(request, response),
    );
    for (let i = 0; i < 3; i++) expect((await mcp(pb, 'bad', echoCall())).status).toBe(502);
    expect((await mcp(pb, 'bad', echoCall())).status).toBe(503);
    expect((await mcp(pb, 'c', echoCall())).status).toBe(200);
  });

  test.each([
    { what: 'a PUT', change: (pb: TestPatchbay) => put(pb, 'c', {}) },
    {
      what: 'a DELETE',
      change: async (pb: TestPatchbay) => {
        await pb.request('/connect/default/c', { method: 'DELETE' });
        await put(pb, 'c', { mcpUrl: rig.up.url });
      },
    },
  ])('is closed by $what', async ({ change }) => {
    const pb = await start({ limits: { circuitOpenMinMs: 60_000, circuitOpenMaxMs: 60_000 } });
    await open(pb);
    expect((await mcp(pb, 'c', echoCall())).status).toBe(503);
    rig.up.handle(healthy);
    await change(pb);
    expect((await mcp(pb, 'c', echoCall())).status).toBe(200);
  });

  test('is closed by a background probe that finds the upstream well', async () => {
    const pb = await start({
      limits: { circuitOpenMinMs: 60_000, circuitOpenMaxMs: 60_000, healMinMs: 100, healMaxMs: 200 },
    });
    await open(pb);
    expect((await mcp(pb, 'c', echoCall())).status).toBe(503);
    rig.up.handle(healthy);
    await until(async () => (await mcp(pb, 'c', echoCall())).status === 200);
  });

  test('stands in front of a modern upstream too', async () => {
    const pb = await start();
    const modern = modernServer().handler;
    rig.up.handle(modern);
    await put(pb, 'm', { mcpUrl: rig.up.url });
    const call = () => mcp(pb, 'm', modernCall, { headers: modernHeaders });
    expect((await call()).status).toBe(200);
    rig.up.handle(answering(502));
    for (let i = 0; i < 3; i++) expect((await call()).status).toBe(502);
    expect((await call()).status).toBe(503);
    rig.up.handle(modern);
    await until(async () => (await call()).status === 200);
  });
});

describe('a pause that the upstream asks for', () => {
  for (const code of [429, 503]) {
    test.each(ways)(`with ${code} reaches the caller of $way, and is kept to`, async ({ call }) => {
      const pb = await start();
      rig.up.handle(answering(code, { 'retry-after': '40' }));
      const first = await call(pb);
      expect(first.status, first.text).toBe(429);
      expect(first.headers.get('retry-after')).toBe('40');
      const before = toUpstream();
      for (const other of ways) {
        const { status, headers } = await other.call(pb);
        expect(status).toBe(429);
        expect(Number(headers.get('retry-after'))).toBeGreaterThan(20);
        expect(Number(headers.get('retry-after'))).toBeLessThanOrEqual(40);
      }
      expect(toUpstream()).toBe(before);
    });
  }

  test('ends, at the latest after the limit', async () => {
    const pb = await start({ limits: { retryAfterMaxMs: 200 } });
    rig.up.handle(answering(429, { 'retry-after': '3600' }));
    expect((await mcp(pb, 'c', echoCall())).headers.get('retry-after')).toBe('3600');
    rig.up.handle(healthy);
    expect((await mcp(pb, 'c', echoCall())).status).toBe(429);
    await until(async () => (await mcp(pb, 'c', echoCall())).status === 200);
  });

  test('is told by no time where the upstream names none, and then nothing is held back', async () => {
    const pb = await start();
    rig.up.handle(answering(429));
    expect((await mcp(pb, 'c', echoCall())).status).toBe(429);
    rig.up.handle(healthy);
    expect((await mcp(pb, 'c', echoCall())).status).toBe(200);
  });

  test('holds background probes back too', async () => {
    const pb = await start({
      limits: { healMinMs: 20, healMaxMs: 40, healSweepMs: 50, retryAfterMaxMs: 700 },
    });
    const askedAt: number[] = [];
    rig.up.handle((request, response) => {
      if (request.message?.method !== 'initialize') return answering(500)(request, response);
      askedAt.push(performance.now());
      return answering(429, { 'retry-after': '100' })(request, response);
    });
    // It fails, and its probe is told to wait.
    await mcp(pb, 'c', echoCall());
    await until(() => askedAt.length >= 3);
    for (const [i, at] of askedAt.slice(1).entries()) {
      expect(at - (askedAt[i] as number)).toBeGreaterThan(690);
    }
  });
});
