import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Clock } from '../../src/platform/clock.ts';
import { createTestDatabase, type TestDatabase, testsOnPostgres } from '../fixtures/database.ts';
import {
  connect,
  count,
  echoCall,
  mcp,
  put,
  type Rig,
  read,
  rest,
  setUpRig,
  stored,
  untilState,
} from '../fixtures/fault.ts';
import type { StartOptions, TestPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';
import { type Handler, legacyServer, type Upstream } from '../fixtures/upstream.ts';

const quick = { healMinMs: 30, healMaxMs: 120, healSweepMs: 100, discoverMs: 1_000, probeMs: 3_000 };
const healthy = legacyServer().handler;
const answering =
  (status: number): Handler =>
  (_request, response) =>
    void response.writeHead(status).end();

let rig: Rig;
let up: Upstream;
beforeEach(async () => {
  rig = await setUpRig();
  up = rig.up;
  return rig.stop;
});

function start(options: StartOptions = {}): Promise<TestPatchbay> {
  return rig.start({ limits: quick, ...options });
}

/** A clock that stands still until told; its timers fire only when asked for. */
class ManualClock implements Clock {
  time = 1_800_000_000_000;
  readonly #timers = new Map<() => void, number>();

  now = (): number => this.time;

  elapsed = (): number => performance.now();

  after = (ms: number, run: () => void): (() => void) => {
    const timer = () => run();
    this.#timers.set(timer, this.time + ms);
    return () => this.#timers.delete(timer);
  };

  /** Fires what is due, without moving the time. */
  fire(): void {
    for (const [timer, at] of [...this.#timers]) {
      if (at > this.time) continue;
      this.#timers.delete(timer);
      timer();
    }
  }
}

/** The system's clock, with an offset that a test changes: what NTP, a suspend or a person does. */
class ShiftedClock implements Clock {
  offset = 0;

  now = (): number => Date.now() + this.offset;

  elapsed = (): number => performance.now();

  after(ms: number, run: () => void): () => void {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  }
}

test.each([
  { fault: '404', serve: answering(404) },
  { fault: '502', serve: answering(502) },
  { fault: '401', serve: answering(401) },
])(
  'a connection created against a $fault heals by background probes, with nobody asking',
  async ({ serve }) => {
    const pb = await start();
    up.handle(serve);
    expect((await put(pb, 'c', { mcpUrl: up.url })).json.status).toMatchObject({ state: 'error' });
    up.handle(healthy);
    await untilState(pb, 'c', 'connected');
    const { json } = await read(await pb.request('/connect/default/c'));
    expect(json).toMatchObject({ status: { state: 'connected' }, serverInfo: { name: 'legacy-fixture' } });
    expect(count(up, 'tools/call')).toBe(0);
  },
);

test('a connection in error heals after a restart of the server too', async () => {
  const pb = await start();
  up.handle(answering(500));
  await put(pb, 'c', { mcpUrl: up.url });
  const before = up.received.length;
  await pb.restart();
  await until(() => up.received.length > before);
  up.handle(healthy);
  await untilState(pb, 'c', 'connected');
});

test('GET answers what is stored at once, and nudges a probe that nothing else would have run', async () => {
  const clock = new ManualClock();
  const pb = await start({ clock, limits: {} });
  up.handle(answering(404));
  await put(pb, 'c', { mcpUrl: up.url });
  up.handle(healthy);
  const asked = up.received.length;

  // Just probed: a nudge now would only hammer the upstream.
  await read(await pb.request('/connect/default/c'));
  clock.time += 2_000;
  // No timer has fired, so only this GET can be the reason for what follows.
  expect(up.received.length).toBe(asked);
  const { json } = await read(await pb.request('/connect/default/c'));
  expect(json.status).toMatchObject({ state: 'error', message: 'upstream answered 404 at /mcp' });
  await untilState(pb, 'c', 'connected');
});

test('GET of a connection whose upstream hangs waits for nobody', async () => {
  const pb = await start();
  up.handle(answering(404));
  await put(pb, 'c', { mcpUrl: up.url });
  up.handle(() => {});
  for (let n = 0; n < 5; n++) {
    const startedAt = performance.now();
    expect((await read(await pb.request('/connect/default/c'))).status).toBe(200);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  }
});

test.each([
  { fault: 'a 5xx', serve: answering(503), status: 502 },
  {
    fault: 'an answer cut off',
    serve: ((_request, response) => void response.socket?.destroy()) as Handler,
    status: 502,
  },
  { fault: 'a timeout', serve: (() => {}) as Handler, status: 504 },
])('$fault of one call starts a probe, which finds the upstream well', async ({ serve, status }) => {
  const pb = await start({ limits: { ...quick, callTimeoutMs: 300 } });
  await connect(pb, 'c', up.url);
  up.handle((request, response) =>
    request.message?.method === 'tools/call' ? serve(request, response) : healthy(request, response),
  );
  const probes = count(up, 'server/discover');
  expect((await mcp(pb, 'c', echoCall())).status).toBe(status);
  await until(() => count(up, 'server/discover') > probes);
  // Stopping waits for what is under way; the probe found nothing wrong, and nothing may say otherwise.
  await pb.restart();
  expect(await stored(pb, 'c')).toEqual({ state: 'connected' });
});

test.each([
  { fault: 'a 5xx', serve: answering(503), message: /503/ },
  { fault: 'a timeout', serve: (() => {}) as Handler, message: /in time/ },
])('$fault of one call starts a probe, which finds the upstream down', async ({ serve, message }) => {
  const pb = await start({ limits: { ...quick, callTimeoutMs: 300, discoverMs: 200, probeMs: 500 } });
  await connect(pb, 'c', up.url);
  up.handle(serve);
  await rest(pb, 'c');
  expect((await untilState(pb, 'c', 'error')).message).toMatch(message);
  up.handle(healthy);
  await untilState(pb, 'c', 'connected');
});

test('a call that succeeds clears an error by itself', async () => {
  const clock = new ManualClock();
  const pb = await start({ clock, limits: {} });
  await connect(pb, 'c', up.url);
  up.handle(answering(401));
  expect((await rest(pb, 'c')).status).toBe(502);
  await untilState(pb, 'c', 'error');
  up.handle(healthy);
  const probes = count(up, 'server/discover');
  expect((await mcp(pb, 'c', echoCall())).status).toBe(200);
  await untilState(pb, 'c', 'connected');
  // No timer ran: it was the call, not a probe.
  expect(count(up, 'server/discover')).toBe(probes);
});

test('it never says connected when the last call was refused for its credentials', async () => {
  const pb = await start({ clock: new ManualClock(), limits: {} });
  await connect(pb, 'c', up.url);
  up.handle((request, response) =>
    request.message?.method === 'tools/call' ? answering(401)(request, response) : healthy(request, response),
  );
  expect((await mcp(pb, 'c', echoCall())).status).toBe(502);
  expect(await untilState(pb, 'c', 'error')).toMatchObject({
    message: 'upstream refused the credentials (401)',
  });
});

test.each([404, 502])('100 ms of %i, as a proxy shows while it reloads, leave no trace', async (status) => {
  const pb = await start();
  await connect(pb, 'c', up.url);
  up.handle(answering(status));
  const backAt = performance.now() + 100;
  const seen: number[] = [];
  await until(async () => {
    if (performance.now() > backAt) up.handle(healthy);
    seen.push((await rest(pb, 'c')).status);
    return seen.at(-1) === 200;
  });
  expect(seen[0]).toBe(502);
  await untilState(pb, 'c', 'connected');
  expect((await mcp(pb, 'c', echoCall())).status).toBe(200);
});

test('probes of an upstream that stays down grow rarer', async () => {
  const pb = await start({ limits: { ...quick, healMinMs: 20, healMaxMs: 5_000 } });
  up.handle(answering(404));
  await put(pb, 'c', { mcpUrl: up.url });
  const attempts = async () => {
    const row = await pb.store.db
      .selectFrom('connections')
      .select(['probe_attempt', 'probe_at', 'status_at'])
      .executeTakeFirstOrThrow();
    return { attempt: row.probe_attempt, waitMs: Number(row.probe_at) - Number(row.status_at) };
  };
  // With doubling from 20 ms, the sixth wait may be 640 ms; jitter keeps it at 20 or more.
  const waits = new Map<number, number>();
  await until(async () => {
    const { attempt, waitMs } = await attempts();
    waits.set(attempt, waitMs);
    return attempt >= 6;
  }, 20_000);
  expect(Math.min(...waits.values())).toBeGreaterThanOrEqual(15);
});

describe('a clock that goes back an hour', () => {
  test.each([
    { what: 'the upstream fails', first: healthy, next: answering(404), state: 'error' },
    { what: 'the upstream recovers', first: answering(404), next: healthy, state: 'connected' },
  ])('does not freeze the status: $what', async ({ first, next, state }) => {
    const clock = new ShiftedClock();
    const pb = await start({ clock });
    up.handle(first);
    await put(pb, 'c', { mcpUrl: up.url });
    clock.offset = -3_600_000;
    up.handle(next);
    await rest(pb, 'c');
    await untilState(pb, 'c', state);
  });

  test('does not freeze background probes', async () => {
    const clock = new ShiftedClock();
    const pb = await start({ clock });
    up.handle(answering(404));
    await put(pb, 'c', { mcpUrl: up.url });
    clock.offset = -3_600_000;
    up.handle(healthy);
    await untilState(pb, 'c', 'connected');
  });

  test('does not freeze a PUT, nor what comes after it', async () => {
    const clock = new ShiftedClock();
    const pb = await start({ clock });
    await connect(pb, 'c', up.url);
    clock.offset = -3_600_000;
    up.handle(answering(404));
    expect((await put(pb, 'c', {})).json.status).toMatchObject({ state: 'error' });
    up.handle(healthy);
    await untilState(pb, 'c', 'connected');
    up.handle(answering(401));
    await rest(pb, 'c');
    await untilState(pb, 'c', 'error');
  });

  test('does not lengthen the time limit of a call under way', async () => {
    const clock = new ShiftedClock();
    const pb = await start({ clock, limits: { ...quick, callTimeoutMs: 500 } });
    await connect(pb, 'c', up.url);
    up.handle((request, response) =>
      request.message?.method === 'tools/call' ? undefined : healthy(request, response),
    );
    const call = mcp(pb, 'c', echoCall(), { signal: AbortSignal.timeout(5_000) });
    const outcome = call.then(
      ({ status }) => status,
      (error: Error) => error.name,
    );
    await until(() => count(up, 'tools/call') === 1);
    clock.offset = -3_600_000;
    expect(await outcome).toBe(504);
  });
});

test('a clock that goes forward a day neither ends calls wrongly nor freezes the status after it comes back', async () => {
  const clock = new ShiftedClock();
  const pb = await start({ clock });
  await connect(pb, 'c', up.url);
  clock.offset = 86_400_000;
  up.handle(answering(404));
  await rest(pb, 'c');
  await untilState(pb, 'c', 'error');
  clock.offset = 0;
  up.handle(healthy);
  await untilState(pb, 'c', 'connected');
});

describe.runIf(testsOnPostgres)('two processes on one PostgreSQL', () => {
  let dataDir: string;
  let database: TestDatabase;
  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'patchbay-shared-'));
    database = await createTestDatabase(dataDir);
    return async () => {
      // It cannot go while they are on it.
      await rig.stopInstances();
      await database.drop();
      await rm(dataDir, { recursive: true, force: true });
    };
  });

  test('probe a connection one at a time, and both know what was found', async () => {
    const limits = { ...quick, healMinMs: 20, healMaxMs: 40, healSweepMs: 20, discoverMs: 2_000 };
    const one = await start({ database, limits });
    const two = await start({ database, limits });
    up.handle(answering(404));
    await put(one, 'c', { mcpUrl: up.url });
    let underWay = 0;
    let most = 0;
    let probes = 0;
    up.handle((request, response) => {
      if (request.message?.method === 'server/discover') {
        probes++;
        most = Math.max(most, ++underWay);
      }
      // `initialize` is the last request of a failed probe.
      if (request.message?.method === 'initialize') setTimeout(() => underWay--, 0);
      return answering(404)(request, response);
    });
    await until(async () => {
      await Promise.all([one, two].map((pb) => pb.request('/connect/default/c').then(read)));
      return probes > 20;
    }, 20_000);
    expect(most).toBe(1);
    up.handle(healthy);
    await untilState(one, 'c', 'connected');
    for (const pb of [one, two]) expect((await rest(pb, 'c')).status).toBe(200);
  });

  test('a process that dies in the middle of a probe leaves it to the other', async () => {
    const one = await start({ database });
    up.handle(answering(404));
    await put(one, 'c', { mcpUrl: up.url });
    await rig.stopInstances();
    up.handle(healthy);
    const two = await start({ database });
    await untilState(two, 'c', 'connected');
  });
});
