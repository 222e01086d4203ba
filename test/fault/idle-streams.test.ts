import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connect, drained, echoCall, jsonContent, type Rig, rest, setUpRig } from '../fixtures/fault.ts';
import type { TestPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';
import { type Handler, legacyServer, modernServer } from '../fixtures/upstream.ts';

// What is sent to the caller of a POST while its event stream is silent.

const comment = ': keep-alive\n\n';
const limits = { streamKeepAliveMs: 50 };
const legacy = legacyServer({ sessions: true }).handler;
const modern = modernServer().handler;
const revision = '2026-07-28';
const meta = {
  'io.modelcontextprotocol/protocolVersion': revision,
  'io.modelcontextprotocol/clientCapabilities': {},
};

interface Era {
  era: string;
  healthy: Handler;
  headers: Record<string, string>;
  message: Record<string, unknown>;
}

/** The id of the legacy call is replaced on the way, so its bytes take another path than those of the modern one. */
const eras: Era[] = [
  {
    era: 'legacy',
    healthy: legacy,
    headers: { 'mcp-session-id': 'smithery-stateless' },
    message: echoCall('mine'),
  },
  {
    era: 'modern',
    healthy: modern,
    headers: { 'mcp-protocol-version': revision, 'mcp-method': 'tools/call', 'mcp-name': 'echo' },
    message: { ...echoCall('mine'), params: { name: 'echo', arguments: {}, _meta: meta } },
  },
];

let rig: Rig;
let pb: TestPatchbay;
/** The upstream's answer to the tool call under way, and the id that it is to carry. */
let stream: Parameters<Handler>[1];
let sentId: unknown;
beforeEach(async () => {
  rig = await setUpRig();
});
afterEach(() => rig.stop());

async function start(healthy: Handler, more: Record<string, number> = {}): Promise<void> {
  rig.up.handle((request, response) => {
    if (request.message?.method !== 'tools/call') return healthy(request, response);
    sentId = request.message.id;
    stream = response;
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
  });
  pb = await rig.start({ limits: { ...limits, ...more } });
  await connect(pb, 'c', rig.up.url);
}

async function call({ headers, message }: Pick<Era, 'headers' | 'message'>, signal?: AbortSignal) {
  const response = await pb.request('/connect/default/c/mcp', {
    method: 'POST',
    body: JSON.stringify(message),
    headers: { ...jsonContent, ...headers },
    ...(signal && { signal }),
  });
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const decoder = new TextDecoder();
  let got = '';
  return {
    /** Reads until `text` has come, or to the end. */
    reads: async (text?: string): Promise<string> => {
      while (text === undefined || !got.includes(text)) {
        const { done, value } = await reader.read();
        if (done) break;
        got += decoder.decode(value, { stream: true });
      }
      return got;
    },
  };
}

describe.each(eras)('a silent event stream to a $era caller', (era) => {
  test('is kept alive by comments, from before its first event on, and still brings its answer', async () => {
    await start(era.healthy);
    const caller = await call(era);
    await caller.reads(comment.repeat(2));
    const progress = 'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\n';
    stream.write(progress);
    await caller.reads(`${progress}${comment}`);
    stream.end(`data: ${JSON.stringify({ jsonrpc: '2.0', id: sentId, result: { content: [] } })}\n\n`);
    const text = await caller.reads();
    expect(text.replaceAll(comment, '')).toBe(
      `${progress}data: {"jsonrpc":"2.0","id":"mine","result":{"content":[]}}\n\n`,
    );
  });

  test.each([
    'data: {"jsonrpc":"2.0",',
    'id: 7\n',
    'data: {"jsonrpc":"2.0",\r\n',
    ': a comment of its own\n',
  ])('carries none within an event that begins with %j', async (beginning) => {
    // The silence outlasts many times for a comment, and ends the call.
    await start(era.healthy, { idleTimeoutMs: 900 });
    const caller = await call(era);
    await caller.reads(comment);
    stream.write(beginning);
    const text = await caller.reads();
    expect(text.replaceAll(comment, '').startsWith(beginning)).toBe(true);
    expect(text.slice(text.indexOf(beginning))).not.toContain(comment);
    expect(text).toContain('"code":50401');
  });

  test('is ended by its time limit all the same: comments of ours are no sign of life', async () => {
    await start(era.healthy, { idleTimeoutMs: 700 });
    const caller = await call(era);
    const text = await caller.reads();
    expect(text.split(comment).length).toBeGreaterThan(1);
    expect(text).toMatch(/"id":"mine","error":\{"code":50401/);
  });
});

describe.each(eras)('a $era caller', (era) => {
  test('that goes away while its stream is silent ends the call at the upstream', async () => {
    await start(era.healthy);
    const gone = new AbortController();
    const caller = await call(era, gone.signal);
    await caller.reads(comment);
    gone.abort();
    await expect(caller.reads('never')).rejects.toThrow();
    await until(() => stream.destroyed);
    expect(stream.writableFinished).toBe(false);
    rig.up.handle(era.healthy);
    expect((await rest(pb, 'c')).status).toBe(200);
  });

  test('that goes away before anything was answered ends the call at the upstream', async () => {
    await start(era.healthy);
    let waiting: Parameters<Handler>[1] | undefined;
    rig.up.handle((request, response) => {
      if (request.message?.method !== 'tools/call') return era.healthy(request, response);
      waiting = response;
    });
    const gone = new AbortController();
    const answer = call(era, gone.signal);
    await until(() => waiting);
    gone.abort();
    await expect(answer).rejects.toThrow();
    await until(() => waiting?.destroyed);
  });

  test('that reads slowly holds the upstream back, and gets every byte in the end', async () => {
    await start(era.healthy);
    const event = Buffer.from(
      `data: {"jsonrpc":"2.0","method":"x","params":{"x":"${'a'.repeat(65_000)}"}}\n\n`,
    );
    const events = 1_000;
    const caller = await call(era);
    let written = 0;
    const writing = (async () => {
      for (let i = 0; i < events; i++) {
        written += event.length;
        if (!stream.write(event)) await drained(stream);
      }
      stream.end(`data: ${JSON.stringify({ jsonrpc: '2.0', id: sentId, result: {} })}\n\n`);
    })();
    let last = -1;
    let same = 0;
    await until(() => {
      same = written === last && written > 0 ? same + 1 : 0;
      last = written;
      return same >= 20;
    });
    // What the sockets' own buffers take on three hops; the call would be 62 MiB.
    expect(written).toBeLessThan(32 * 1024 * 1024);
    const text = await caller.reads();
    await writing;
    const answer = 'data: {"jsonrpc":"2.0","id":"mine","result":{}}\n\n';
    expect(text.replaceAll(comment, '').length).toBe(events * event.length + answer.length);
    expect(text.endsWith(answer)).toBe(true);
  });
});
