import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  connect,
  count,
  drained,
  echoCall,
  flood,
  growth,
  mcp,
  put,
  read,
  rest,
  untilState,
} from '../fixtures/fault.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';
import { type Handler, legacyServer, sendJson, startUpstream, type Upstream } from '../fixtures/upstream.ts';

const gibibyte = 1024 ** 3;
/** The process holds caller, gateway and upstream at once; 1 GB kept anywhere would show. */
const allowedGrowthMiB = 150;
const limits = { idleTimeoutMs: 700, healMinMs: 50, healMaxMs: 200, healSweepMs: 100, endSessionMs: 200 };

let pb: TestPatchbay;
let up: Upstream;
const healthy = legacyServer({ sessions: true }).handler;
beforeAll(async () => {
  pb = await startPatchbay({ limits });
  up = await startUpstream(healthy);
  await connect(pb, 'c', up.url);
  await rest(pb, 'c');
});
afterAll(async () => {
  await pb?.stop();
  await up?.stop();
});

/** Answers requests of `method` with `serve`, and everything else in health. */
function only(method: string, serve: Handler): Handler {
  return (request, response) =>
    request.message?.method === method ? serve(request, response) : healthy(request, response);
}

async function healed(): Promise<void> {
  up.handle(healthy);
  expect((await rest(pb, 'c')).status).toBe(200);
  expect((await mcp(pb, 'c', echoCall())).status).toBe(200);
  await untilState(pb, 'c', 'connected');
}

const chunk = Buffer.alloc(256 * 1024, 'a');
const flooding =
  (
    contentLength: boolean,
    type = 'application/json',
    prefix = '{"jsonrpc":"2.0","id":1,"result":{"x":"',
  ): Handler =>
  async (_request, response) => {
    response.writeHead(200, {
      'content-type': type,
      ...(contentLength ? { 'content-length': String(gibibyte + prefix.length) } : {}),
    });
    response.write(prefix);
    await flood(response, gibibyte, chunk);
  };

test.each([
  { name: 'JSON with its length', serve: flooding(true) },
  { name: 'JSON in chunks', serve: flooding(false) },
  { name: 'one endless event', serve: flooding(false, 'text/event-stream', 'data: ') },
])('1 GB of $name, to .tools: 502 in bounded time and memory', async ({ serve }) => {
  up.handle(only('tools/call', serve));
  const startedAt = performance.now();
  const grown = await growth(async () => {
    const { status, json } = await rest(pb, 'c');
    expect(status).toBe(502);
    expect(json.message).toMatch(/more than 16 MiB/);
  });
  expect(performance.now() - startedAt).toBeLessThan(15_000);
  expect(grown).toBeLessThan(allowedGrowthMiB);
  await healed();
});

test('1 GB of JSON with its length, to the MCP endpoint: 502 before a byte is read', async () => {
  up.handle(only('tools/call', flooding(true)));
  const grown = await growth(async () => {
    const { status, json } = await mcp(pb, 'c', echoCall(3));
    expect(status).toBe(502);
    expect(json).toMatchObject({ id: 3, error: { message: expect.stringMatching(/more than 256 MiB/) } });
  });
  expect(grown).toBeLessThan(allowedGrowthMiB);
  await healed();
});

test('1 GB of JSON in chunks, to the MCP endpoint: broken off, never ended as if whole', async () => {
  up.handle(only('tools/call', flooding(false)));
  let bytes = 0;
  const grown = await growth(async () => {
    const response = await pb.request('/connect/default/c/mcp', { method: 'POST', json: echoCall() });
    const pull = async () => {
      for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) bytes += part.length;
    };
    await expect(pull()).rejects.toThrow();
  });
  expect(bytes).toBeLessThanOrEqual(257 * 1024 * 1024);
  expect(grown).toBeLessThan(allowedGrowthMiB);
  await healed();
});

test('1 GB as the answer to a probe: 201 with the reason, in bounded memory', async () => {
  const flood = await startUpstream(flooding(false));
  const grown = await growth(async () => {
    const { status, json } = await put(pb, 'flooded', { mcpUrl: flood.url });
    expect(status).toBe(201);
    expect(json.status).toMatchObject({ state: 'error', message: expect.stringMatching(/more than/) });
  });
  expect(grown).toBeLessThan(allowedGrowthMiB);
  await pb.request('/connect/default/flooded', { method: 'DELETE' });
  await flood.stop();
});

test('1 GB under an error status costs no memory and ends as a failed call', async () => {
  up.handle(
    only('tools/call', async (_request, response) => {
      response.writeHead(500, { 'content-type': 'application/json' });
      await flood(response, gibibyte, chunk);
    }),
  );
  const grown = await growth(async () => {
    for (const { status } of [await rest(pb, 'c'), await mcp(pb, 'c', echoCall())]) expect(status).toBe(502);
  });
  expect(grown).toBeLessThan(allowedGrowthMiB);
  await healed();
});

test('a caller that does not read slows the upstream down instead of filling the gateway', async () => {
  let written = 0;
  up.handle(
    only('tools/call', async (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const event = Buffer.from(
        `data: {"jsonrpc":"2.0","method":"notifications/x","params":{"x":"${'a'.repeat(65_000)}"}}\n\n`,
      );
      while (!response.destroyed && written < gibibyte) {
        written += event.length;
        if (!response.write(event)) await drained(response);
      }
    }),
  );
  const response = await pb.request('/connect/default/c/mcp', { method: 'POST', json: echoCall() });
  let last = -1;
  let same = 0;
  await until(() => {
    same = written === last && written > 0 ? same + 1 : 0;
    last = written;
    return same >= 20;
  });
  // What the sockets' own buffers take on three hops, and no more.
  expect(written).toBeLessThan(64 * 1024 * 1024);
  await response.body?.cancel();
  await healed();
});

const progress = 'event: message\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\n';

/** The messages of an event stream, in order; an event that was torn is none. */
function messages(text: string): Record<string, unknown>[] {
  return text.split(/\r?\n\r?\n/).flatMap((event) => {
    try {
      return [JSON.parse(/^data: (.*)$/m.exec(event)?.[1] ?? '')];
    } catch {
      return [];
    }
  });
}

test.each([
  {
    name: 'breaks off between events',
    end: (response: Parameters<Handler>[1]) => void response.socket?.destroy(),
    rpc: 50201,
  },
  {
    name: 'breaks off within an event',
    end: (response: Parameters<Handler>[1]) =>
      void response.write('data: {"jsonrpc":"2.0","id"', () => response.socket?.destroy()),
    rpc: 50201,
  },
  {
    name: 'ends without an answer',
    end: (response: Parameters<Handler>[1]) => void response.end(),
    rpc: 50201,
  },
  { name: 'falls silent', end: () => {}, rpc: 50401 },
])(
  'an event stream that $name ends for the caller with a JSON-RPC error to its own id',
  async ({ end, rpc }) => {
    up.handle(
      only('tools/call', (_request, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write(progress, () => end(response));
      }),
    );
    const before = count(up, 'tools/call');
    const answer = await mcp(pb, 'c', echoCall('mine'));
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toMatch(/^text\/event-stream/);
    const told = messages(answer.text);
    expect(told[0]).toMatchObject({ method: 'notifications/progress' });
    expect(told.at(-1)).toMatchObject({ jsonrpc: '2.0', id: 'mine', error: { code: rpc } });
    expect(count(up, 'tools/call')).toBe(before + 1);

    const overRest = await rest(pb, 'c', {}, { signal: AbortSignal.timeout(5_000) }).catch(() => undefined);
    // `.tools` has one limit for the whole call, which a silent stream does not reach in this test.
    if (rpc === 50201) expect(overRest?.status).toBe(502);
    await healed();
  },
);

test('events pass byte for byte as they come, before the stream ends', async () => {
  let finish = () => {};
  up.handle(
    only('tools/call', ({ message }, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`: a comment\r\nid: 1\r\n${progress}`);
      finish = () =>
        response.end(
          `data: ${JSON.stringify({ jsonrpc: '2.0', id: message?.id, result: { content: [] } })}\n\n`,
        );
    }),
  );
  const response = await pb.request('/connect/default/c/mcp', { method: 'POST', json: echoCall(5) });
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const first = Buffer.from((await reader.read()).value as Uint8Array).toString();
  expect(first).toBe(`: a comment\r\nid: 1\r\n${progress}`);
  finish();
  let rest = '';
  for (let part = await reader.read(); !part.done; part = await reader.read())
    rest += Buffer.from(part.value);
  expect(rest).toBe('data: {"jsonrpc":"2.0","id":5,"result":{"content":[]}}\n\n');
  await healed();
});

test('a namespace-wide listing survives an upstream that floods', async () => {
  up.handle(only('tools/list', flooding(false)));
  const { status, json } = await read(await pb.request('/connect/default/.tools'));
  expect(status).toBe(200);
  expect(json).toMatchObject({ c: { error: { error: 'upstream_failed' } } });
  await healed();
});

test('an answer nested 100,000 deep is passed on or is a 502, never a fault of our own', async () => {
  const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
  up.handle(
    only('tools/call', ({ message }, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(
        `{"jsonrpc":"2.0","id":${JSON.stringify(message?.id)},"result":{"content":[],"deep":${deep}}}`,
      );
    }),
  );
  for (const { status } of [await rest(pb, 'c'), await mcp(pb, 'c', echoCall())])
    expect([200, 502]).toContain(status);
  up.handle(
    only('tools/list', ({ message }, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(
        `{"jsonrpc":"2.0","id":${JSON.stringify(message?.id)},"result":{"tools":[{"name":"echo","inputSchema":{"x":${deep}}}]}}`,
      );
    }),
  );
  expect([200, 502]).toContain((await read(await pb.request('/connect/default/c/.tools'))).status);
  expect((await read(await pb.request('/connect/default/.tools'))).status).toBe(200);
  await healed();
});

test('serverInfo of any size and shape makes a connection that can be shown', async () => {
  const infos = [
    null,
    'text',
    [],
    { name: 1 },
    { name: 'n'.repeat(1_000_000), version: {}, icons: 'x', title: '\ud800' },
    {
      name: 'x',
      version: '1',
      icons: Array.from({ length: 10_000 }, () => ({ src: 'javascript:alert(1)' })),
    },
    { name: 'x', version: '1', icons: [{ src: `data:image/png,${'a'.repeat(1_000_000)}` }, null, 7] },
    { name: 'a\u0000b', version: '1' },
  ];
  for (const [n, serverInfo] of infos.entries()) {
    up.handle((request, response) => {
      if (request.message?.method !== 'initialize') return healthy(request, response);
      const result = { protocolVersion: '2025-11-25', capabilities: {}, serverInfo };
      sendJson(response, 200, { jsonrpc: '2.0', id: request.message.id, result });
    });
    const { status, json, text } = await put(pb, `info${n}`, { mcpUrl: up.url });
    expect(status, text.slice(0, 300)).toBe(201);
    expect(json.status).toEqual({ state: 'connected' });
    expect(text.length).toBeLessThan(20_000);
    expect(text).not.toContain('javascript:');
    await pb.request(`/connect/default/info${n}`, { method: 'DELETE' });
  }
  up.handle(healthy);
});
