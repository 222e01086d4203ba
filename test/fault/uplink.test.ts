import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo, Socket } from 'node:net';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase } from '../fixtures/database.ts';
import { echoCall, mcp, put, rest, stored, untilState } from '../fixtures/fault.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { type ServerProcess, startProcess } from '../fixtures/process.ts';
import { until } from '../fixtures/until.ts';
import {
  answerAsServer,
  type PairOptions,
  pair,
  refusedPairing,
  type UplinkClient,
} from '../fixtures/uplink-client.ts';

const limits = {
  uplinkPingMs: 300,
  uplinkCloseMs: 300,
  uplinkFrameBytes: 1024 * 1024,
  uplinkInitializeMinMs: 50,
};

let pb: TestPatchbay;
let id: string;
let serial = 0;
const open: UplinkClient[] = [];
beforeAll(async () => {
  pb = await startPatchbay({ limits });
});
afterAll(() => pb?.stop());
beforeEach(async () => {
  id = `up-${++serial}`;
  await put(pb, id, { transport: 'uplink' });
});
afterEach(() => {
  for (const { socket } of open.splice(0)) socket.terminate();
});

async function paired(options: PairOptions = {}, at = pb): Promise<UplinkClient> {
  const client = await pair(at, id, options);
  open.push(client);
  return client;
}

describe('frames that are none', () => {
  test.each([
    ['text that is not JSON', 'hello', 1007],
    ['an array', '[]', 1007],
    ['JSON-RPC of no version', '{"id":1,"method":"ping"}', 1007],
    ['binary that is not UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 1007],
    ['JSON nested without end', `{"jsonrpc":"2.0","x":${'['.repeat(5000)}${']'.repeat(5000)}}`, 1007],
    ['a message larger than any may be', Buffer.alloc(2 * 1024 * 1024, 0x20), 1009],
  ])('%s closes the tunnel, and says why', async (_what, frame, code) => {
    const client = await paired();
    client.socket.send(frame);
    expect((await client.closed).code).toBe(code);
    await untilState(pb, id, 'disconnected');
    const other = await put(pb, `${id}-other`, { transport: 'uplink' });
    expect(other.status).toBe(201);
  });

  test('a frame that never ends is bounded, and calls of other tunnels go on beside it', async () => {
    const client = await paired();
    const other = `${id}-other`;
    await put(pb, other, { transport: 'uplink' });
    open.push(await pair(pb, other));
    const feed = setInterval(() => client.socket.send('x'.repeat(64 * 1024), { fin: false }), 5);
    for (let n = 0; n < 10; n++) expect((await rest(pb, other, { n })).status).toBe(200);
    expect((await client.closed).code).toBe(1009);
    clearInterval(feed);
  });

  test('binary frames of UTF-8 are messages like any other', async () => {
    await paired({
      answer: (message, { socket }) => {
        const answered = answerAsServer(message);
        if (answered)
          socket.send(Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: message.id, ...answered })));
        return undefined;
      },
    });
    const answer = await rest(pb, id, { text: 'übergroß 🚀' });
    expect(answer.text).toContain('übergroß 🚀');
  });

  test('answers to nothing, unknown questions and notifications do no harm', async () => {
    const client = await paired();
    client.send({ id: 4711, result: {} });
    client.send({ id: 'q', method: 'no/such', params: {} });
    client.send({ method: 'notifications/progress', params: { progressToken: 99, progress: 1 } });
    client.send({ method: 'notifications/cancelled', params: {} });
    client.send({ id: 'p', method: 'ping' });
    await until(() => client.received.find((message) => message.id === 'p'));
    expect(client.received.find((message) => message.id === 'q')).toMatchObject({ error: { code: -32601 } });
    expect((await rest(pb, id, { n: 1 })).status).toBe(200);
  });
});

test('a tunnel whose bytes are swallowed is found by ping, and its calls fail at once then', async () => {
  const between: Socket[] = [];
  let isSwallowing = false;
  const proxy = createServer((near) => {
    const far = connect(Number(new URL(pb.url).port), '127.0.0.1');
    between.push(near, far);
    near.on('data', (data) => isSwallowing || far.write(data));
    far.on('data', (data) => isSwallowing || near.write(data));
    near.on('error', () => {});
    far.on('error', () => {});
  });
  await new Promise<void>((resolve) => {
    proxy.listen(0, '127.0.0.1', resolve);
  });
  const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  await paired({}, { ...pb, url });
  expect((await rest(pb, id, {})).status).toBe(200);
  isSwallowing = true;
  const started = Date.now();
  const lost = await rest(pb, id, { n: 1 });
  expect([lost.status, lost.json.error]).toEqual([502, 'upstream_failed']);
  expect(Date.now() - started).toBeLessThan(5_000);
  await untilState(pb, id, 'disconnected');
  for (const socket of between) socket.destroy();
  proxy.close();
});

test('a server that floods its tunnel with messages does not keep the calls of another waiting', async () => {
  const flooder = await paired();
  const other = `${id}-other`;
  await put(pb, other, { transport: 'uplink' });
  open.push(await pair(pb, other));
  await rest(pb, other, {});
  let isOn = true;
  const flood = (async () => {
    while (isOn && flooder.socket.readyState === flooder.socket.OPEN) {
      for (let n = 0; n < 500; n++)
        flooder.send({ method: 'notifications/message', params: { level: 'info', data: n } });
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  for (let n = 0; n < 20; n++) {
    const answer = await rest(pb, other, { n }, { signal: AbortSignal.timeout(5_000) });
    expect(answer.status).toBe(200);
  }
  isOn = false;
  flooder.socket.terminate();
  await flood;
});

test('two machines that take the uplink from each other do so for as long as they like', async () => {
  let holding = await paired();
  for (let round = 0; round < 10; round++) {
    const next = await paired({ force: true });
    expect(await holding.closed).toEqual({ code: 1001, reason: 'replaced' });
    expect((await rest(pb, id, { round })).status).toBe(200);
    holding = next;
  }
  const racers = await Promise.allSettled(Array.from({ length: 8 }, () => paired({ force: true })));
  await until(() => open.filter(({ socket }) => socket.readyState === socket.OPEN).length === 1);
  expect(racers.some(({ status }) => status === 'fulfilled')).toBe(true);
  expect((await rest(pb, id, {})).status).toBe(200);
  expect((await stored(pb, id)).state).toBe('connected');
});

describe('when Patchbay stops', () => {
  test('calls under way finish, the machine is told to come back, and the row says disconnected', async () => {
    const own = await startPatchbay({ limits: { ...limits, drainMs: 5_000 } });
    try {
      await put(own, id, { transport: 'uplink' });
      const answers: (() => void)[] = [];
      const client = await paired(
        {
          answer: (message, { send }) => {
            if (message.method !== 'tools/call') return answerAsServer(message);
            answers.push(() => send({ id: message.id, ...(answerAsServer(message) as object) }));
            return undefined;
          },
        },
        own,
      );
      const under = mcp(own, id, echoCall(1, { slow: true }));
      await until(() => answers.length === 1);
      const restarted = own.restart();
      await new Promise((resolve) => setImmediate(resolve));
      expect(client.socket.readyState).toBe(client.socket.OPEN);
      answers[0]?.();
      expect((await under).status).toBe(200);
      expect(await client.closed).toEqual({ code: 1012, reason: 'restart' });
      await restarted;
      expect((await stored(own, id)).state).toBe('disconnected');
      await paired({}, own);
      expect((await stored(own, id)).state).toBe('connected');
    } finally {
      await own.stop();
    }
  });

  test('a call that is never answered holds that up for the drain time, and no longer', async () => {
    const own = await startPatchbay({ limits: { ...limits, drainMs: 300 } });
    await put(own, id, { transport: 'uplink' });
    const client = await paired(
      { answer: (message) => (message.method === 'tools/call' ? undefined : answerAsServer(message)) },
      own,
    );
    const under = mcp(own, id, echoCall()).catch(() => undefined);
    await until(() => client.received.some(({ method }) => method === 'tools/call'));
    const started = Date.now();
    await own.stop();
    expect(Date.now() - started).toBeLessThan(5_000);
    await under;
  });
});

test('a row that a killed process left connected says disconnected after the next start', async () => {
  const own = await startPatchbay({ limits });
  await put(own, id, { transport: 'uplink' });
  // As a process leaves it that had no time to clean up.
  await own.store.db
    .updateTable('connections')
    .set({
      uplink_holder: 'proc_dead',
      status: JSON.stringify({ state: 'connected' }),
      protocol: JSON.stringify({ uplink: true }),
      server_info: JSON.stringify({ name: 'gone', version: '1' }),
    })
    .where('id', '=', id)
    .execute();
  await own.store.db.insertInto('uplink_holders').values({ id: 'proc_dead', alive_until: 1 }).execute();
  await own.restart();
  expect((await stored(own, id)).state).toBe('disconnected');
  expect((await rest(own, id)).json.error).toBe('uplink_offline');
  await own.stop();
});

test('a server that is killed leaves no row connected after its next start, and the machine can pair again', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'patchbay-killed-'));
  const database = await createTestDatabase(dataDir);
  const env = {
    PATCHBAY_PORT: '0',
    PATCHBAY_DATA_DIR: dataDir,
    PATCHBAY_API_KEY: pb.key,
    ...database.env,
  };
  const first = startProcess([], env);
  let second: ServerProcess | undefined;
  const request = (url: string, init: RequestInit = {}) =>
    fetch(`${url}/default/${id}`, {
      ...init,
      headers: { authorization: `Bearer ${pb.key}`, 'content-type': 'application/json' },
    });
  const stateAt = async (url: string) =>
    ((await (await request(url)).json()) as { status: { state: string } }).status.state;
  try {
    const url = await first.url();
    await request(url, { method: 'PUT', body: JSON.stringify({ transport: 'uplink' }) });
    await paired({}, { ...pb, url });
    expect(await stateAt(url)).toBe('connected');
    first.process.kill('SIGKILL');
    await first.exited;
    second = startProcess([], env);
    const again = await second.url();
    // On PostgreSQL the killed process counts as alive until its lease has run out.
    await until(async () => (await stateAt(again)) === 'disconnected', 25_000);
    await paired({ force: true }, { ...pb, url: again });
    expect(await stateAt(again)).toBe('connected');
  } finally {
    first.process.kill('SIGKILL');
    second?.process.kill('SIGKILL');
    await second?.exited;
    await database.drop();
    await rm(dataDir, { recursive: true, force: true });
  }
});

describe.runIf(process.env.PATCHBAY_TEST_STORE === 'postgres')('two processes on one database', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let here: TestPatchbay;
  let there: TestPatchbay;
  beforeEach(async () => {
    database = await createTestDatabase(pb.dataDir);
    const env = {
      PATCHBAY_MASTER_KEY: Buffer.alloc(32, 7).toString('base64'),
      PATCHBAY_API_KEY: 'the-key-of-both-processes',
    };
    here = await startPatchbay({ limits, database, env });
    there = await startPatchbay({ limits, database, env });
    await put(here, id, { transport: 'uplink' });
  });
  afterEach(async () => {
    await here?.stop();
    await there?.stop();
    await database?.drop();
  });

  test('a call to the process that does not hold the tunnel is refused at once, by its own error', async () => {
    await paired({}, here);
    expect((await rest(here, id, {})).status).toBe(200);
    const elsewhere = await rest(there, id, {});
    expect([elsewhere.status, elsewhere.json.error]).toEqual([503, 'uplink_elsewhere']);
    expect((await mcp(there, id, echoCall())).json).toMatchObject({ error: { code: 50304 } });
    expect((await stored(there, id)).state).toBe('connected');
  });

  test('a second session is a conflict in either, and takes over from either', async () => {
    const first = await paired({}, here);
    expect((await refusedPairing(pair(there, id))).status).toBe(409);
    await paired({ force: true }, there);
    expect(await first.closed).toEqual({ code: 1001, reason: 'replaced' });
    expect((await rest(there, id, {})).status).toBe(200);
    await there.request(`/default/${id}`, { method: 'DELETE' });
  });

  test('deleting the connection in one hangs up on the machine that is paired with the other', async () => {
    const client = await paired({}, here);
    await there.request(`/default/${id}`, { method: 'DELETE' });
    expect((await client.closed).reason).toBe('deleted');
  });

  test('a process that stops being heard of holds nothing any more', async () => {
    await paired({}, here);
    await there.store.db.updateTable('uplink_holders').set({ alive_until: 1 }).execute();
    await there.restart();
    await untilState(there, id, 'disconnected');
    // Its own tunnel is closed for it, so that the machine comes back.
    expect((await open[0]?.closed)?.code).toBe(1012);
  });
});
