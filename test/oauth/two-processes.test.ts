import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Limits } from '../../src/platform/limits.ts';
import { createTestDatabase, type TestDatabase, testsOnPostgres } from '../fixtures/database.ts';
import { mcp, portOf, rest, stored, untilState } from '../fixtures/fault.ts';
import { type FrontDoor, openFrontDoor } from '../fixtures/front-door.ts';
import { followLogin, openBrowser } from '../fixtures/oauth/browser.ts';
import { oauthError } from '../fixtures/oauth/faults.ts';
import {
  awaitLogin,
  connectByLogin,
  expectCallWorks,
  logInAgain,
  type OAuthRig,
  refreshes,
  rpc,
  setUpOAuth,
  tokenRequests,
} from '../fixtures/oauth/rig.ts';
import type { TestPatchbay } from '../fixtures/patchbay.ts';
import { type ServerProcess, startProcess } from '../fixtures/process.ts';
import { until } from '../fixtures/until.ts';

const key = 'one-key-for-both-processes';

// What one SQLite file allows is one process.
describe.runIf(testsOnPostgres)('two processes on one PostgreSQL', () => {
  let rig: OAuthRig;
  let door: FrontDoor;
  let dataDir: string;
  let database: TestDatabase;
  beforeEach(async () => {
    rig = await setUpOAuth();
    door = await openFrontDoor();
    dataDir = await mkdtemp(join(tmpdir(), 'patchbay-two-'));
    database = await createTestDatabase(dataDir);
  });
  afterEach(async () => {
    await rig.stop();
    await door.close();
    await database.drop();
    await rm(dataDir, { recursive: true, force: true });
  });

  /** Instances that share everything but their memory. */
  async function startTwo(limits: Partial<Limits> = {}): Promise<[TestPatchbay, TestPatchbay]> {
    const start = async () => {
      const env = { PATCHBAY_API_KEY: key, PATCHBAY_PUBLIC_URL: door.url };
      const pb = await rig.start({ database, limits, env });
      pb.url = `http://127.0.0.1:${portOf(pb)}`;
      return pb;
    };
    const [a, b] = [await start(), await start()];
    door.ports = [portOf(a), portOf(b)];
    return [a, b];
  }

  const callBoth = (a: TestPatchbay, b: TestPatchbay) =>
    Promise.all(
      Array.from({ length: 50 }, (_, i) => {
        const pb = i % 2 === 0 ? a : b;
        return i % 3 === 0 ? rest(pb, 'c', { text: 'hi' }) : mcp(pb, 'c', rpc(undefined, undefined, i));
      }),
    );

  // pains 5
  test('renew a rotating token once for 50 calls at the same time, which all succeed', async () => {
    const [a, b] = await startTwo();
    await connectByLogin(a, 'c', rig.server.mcpUrl);
    for (let round = 1; round <= 3; round++) {
      rig.server.book.expireAccessTokens();
      const answers = await callBoth(a, b);
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
      expect(refreshes(rig.server)).toHaveLength(round);
    }
    expect((await stored(b, 'c')).state).toBe('connected');
  });

  test('renew a token ahead of its end once, whoever is asked', async () => {
    const [a, b] = await startTwo();
    await connectByLogin(a, 'c', rig.server.mcpUrl);
    rig.clock.advance(3_600_000 - 30_000);
    const answers = await callBoth(a, b);
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    expect(refreshes(rig.server)).toHaveLength(1);
  });

  test('notice the end of a login once, and neither calls anybody again', async () => {
    const [a, b] = await startTwo();
    await connectByLogin(a, 'c', rig.server.mcpUrl);
    rig.server.book.revokeAllGrants();
    const answers = await callBoth(a, b);
    expect(answers.filter(({ status }) => status !== 401 && status !== 422)).toEqual([]);
    expect(refreshes(rig.server)).toHaveLength(1);
    // The word of it reaches the other process's memory a moment later.
    await until(async () => {
      const before = rig.server.requests.length;
      await callBoth(a, b);
      return rig.server.requests.length === before;
    });
    expect(refreshes(rig.server)).toHaveLength(1);
  });

  // pains 5: the loser's clean-up must not delete the winner's token.
  test('do not end a login that the other has renewed, when a refusal comes late', async () => {
    // The lease of the slow one runs out, as if it had been suspended.
    const [a, b] = await startTwo({ renewLeaseMs: 100, renewPollMs: 20 });
    rig.server.behaviour.token.rotate = false;
    await connectByLogin(a, 'c', rig.server.mcpUrl);
    rig.server.book.expireAccessTokens();
    const late = Promise.withResolvers<void>();
    rig.server.behaviour.faults.token = [
      async (response) => {
        await late.promise;
        await oauthError('invalid_grant')(response);
      },
    ];
    const slow = mcp(a, 'c', rpc());
    await until(() => refreshes(rig.server).length === 1);
    await expectCallWorks(b, 'c');
    expect(refreshes(rig.server)).toHaveLength(2);
    late.resolve();
    expect((await slow).status).toBe(200);
    expect((await stored(a, 'c')).state).toBe('connected');
    await expectCallWorks(a, 'c');
    await expectCallWorks(b, 'c');
    expect(refreshes(rig.server)).toHaveLength(2);
  });

  test('do not overwrite what the other has renewed, when an answer comes late', async () => {
    const [a, b] = await startTwo({ renewLeaseMs: 100, renewPollMs: 20 });
    rig.server.behaviour.token.rotate = false;
    await connectByLogin(a, 'c', rig.server.mcpUrl);
    rig.server.book.expireAccessTokens();
    const late = Promise.withResolvers<void>();
    const dead = { access_token: 'of-the-slow-one', token_type: 'Bearer', refresh_token: 'of-the-slow-one' };
    rig.server.behaviour.faults.token = [
      async (response) => {
        await late.promise;
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(dead));
      },
    ];
    const slow = mcp(a, 'c', rpc());
    await until(() => refreshes(rig.server).length === 1);
    await expectCallWorks(b, 'c');
    late.resolve();
    expect((await slow).status).toBe(200);
    await expectCallWorks(a, 'c');
    await expectCallWorks(b, 'c');
    expect(refreshes(rig.server)).toHaveLength(2);
  });

  // pains 26
  test('share a login: begun on one, finished on the other, used on both', async () => {
    const [a, b] = await startTwo();
    const setupUrl = await awaitLogin(a, 'c', rig.server.mcpUrl);
    const person = openBrowser();
    door.ports = [portOf(a)];
    const provider = await person.follow(await person.submit(await person.get(setupUrl)));
    expect(person.next(provider)).toContain(`${door.url}/oauth/callback?`);
    door.ports = [portOf(b)];
    const last = await person.follow(provider);
    expect(last.text).toContain('All set');
    await expectCallWorks(b, 'c');
    await expectCallWorks(a, 'c');
    expect(rig.server.requestsTo('token')).toHaveLength(1);
  });

  // pains 26
  test('share a login of which each step reaches another process', async () => {
    const [a, b] = await startTwo();
    const setupUrl = await awaitLogin(a, 'c', rig.server.mcpUrl);
    const steps = await followLogin(setupUrl);
    expect(steps.at(-1)?.text).toContain('All set');
    await expectCallWorks(a, 'c');
    await expectCallWorks(b, 'c');
  });

  test('take one state once, whoever it comes back to', async () => {
    const [a, b] = await startTwo();
    const setupUrl = await awaitLogin(a, 'c', rig.server.mcpUrl);
    const person = openBrowser();
    const provider = await person.follow(await person.submit(await person.get(setupUrl)));
    const callback = new URL(person.next(provider) as string);
    const results = await Promise.all(
      [a, b].map(async (pb) => {
        const url = new URL(callback.pathname + callback.search, pb.url);
        return (await person.get(url.href)).text;
      }),
    );
    expect(results.filter((text) => text.includes('All set'))).toHaveLength(1);
    expect(tokenRequests(rig.server, 'authorization_code')).toHaveLength(1);
    await untilState(a, 'c', 'connected');
  });

  test('see a new login of the other at once', async () => {
    const [a, b] = await startTwo();
    await connectByLogin(a, 'c', rig.server.mcpUrl);
    await expectCallWorks(b, 'c');
    await logInAgain(a, 'c');
    rig.server.behaviour.mcp.grantOf = (token) =>
      token === lastToken() ? rig.server.book.grantOf(token) : undefined;
    await until(async () => (await mcp(b, 'c', rpc())).status === 200);
    expect(refreshes(rig.server)).toHaveLength(0);
  });

  const lastToken = () =>
    [...rig.server.book.secrets].filter((secret) => secret.startsWith('access-')).at(-1);
});

describe.runIf(testsOnPostgres)('two programs on one PostgreSQL', () => {
  let rig: OAuthRig;
  let dataDir: string;
  let database: TestDatabase;
  const programs: ServerProcess[] = [];
  beforeEach(async () => {
    rig = await setUpOAuth();
    dataDir = await mkdtemp(join(tmpdir(), 'patchbay-two-'));
    database = await createTestDatabase(dataDir);
  });
  afterEach(async () => {
    for (const { process, exited } of programs.splice(0)) {
      process.kill('SIGKILL');
      await exited;
    }
    await rig.stop();
    await database.drop();
    await rm(dataDir, { recursive: true, force: true });
  });

  async function start(name: string): Promise<string> {
    const program = startProcess([], {
      PATCHBAY_PORT: '0',
      PATCHBAY_DATA_DIR: join(dataDir, name),
      PATCHBAY_API_KEY: key,
      ...database.env,
    });
    programs.push(program);
    return program.url();
  }

  const send = (url: string, method: string, json: unknown) =>
    fetch(url, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(json),
    });

  // pains 5
  test('renew a rotating token once for 50 calls at the same time, which all succeed', async () => {
    const urls = [await start('a'), await start('b')];
    const created = await send(`${urls[0]}/connect/default/c`, 'PUT', { mcpUrl: rig.server.mcpUrl });
    const { status } = (await created.json()) as { status: { setupUrl: string } };
    await followLogin(status.setupUrl);
    for (let round = 1; round <= 3; round++) {
      rig.server.book.expireAccessTokens();
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, i) => send(`${urls[i % 2]}/connect/default/c/mcp`, 'POST', rpc())),
      );
      expect(answers.map((answer) => answer.status)).toEqual(answers.map(() => 200));
      expect(refreshes(rig.server)).toHaveLength(round);
    }
  });
});
