import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { defaultLimits } from '../../src/platform/limits.ts';
import { createTestDatabase, type TestDatabase } from '../fixtures/database.ts';
import { mcp, stored, untilState } from '../fixtures/fault.ts';
import { followLogin } from '../fixtures/oauth/browser.ts';
import {
  expectCallWorks,
  logInAgain,
  type OAuthRig,
  refreshes,
  rpc,
  setUpOAuth,
} from '../fixtures/oauth/rig.ts';
import type { TestPatchbay } from '../fixtures/patchbay.ts';
import { type ServerProcess, startProcess } from '../fixtures/process.ts';

let rig: OAuthRig;
let dataDir: string;
let database: TestDatabase;
let killed: ServerProcess | undefined;
let env: Record<string, string>;
beforeEach(async () => {
  rig = await setUpOAuth();
  dataDir = await mkdtemp(join(tmpdir(), 'patchbay-killed-'));
  database = await createTestDatabase(dataDir);
  env = {
    PATCHBAY_PORT: '0',
    PATCHBAY_DATA_DIR: dataDir,
    PATCHBAY_API_KEY: `test-${randomBytes(12).toString('hex')}`,
    ...database.env,
  };
});
afterEach(async () => {
  killed?.process.kill('SIGKILL');
  await killed?.exited;
  await rig.stop();
  await database.drop();
  await rm(dataDir, { recursive: true, force: true });
});

async function send(url: string, method: string, json: unknown): Promise<Record<string, unknown>> {
  const response = await fetch(url, {
    method,
    headers: { authorization: `Bearer ${env.PATCHBAY_API_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify(json),
  });
  return (await response.json()) as Record<string, unknown>;
}

/**
 * Runs the real server until its connection `c` has asked for a renewal, and kills it when the authorization server has
 * done its part and has not answered. Another server then starts on the same data, when the renewal that nobody
 * finishes is free again.
 */
async function killBetweenGrantAndStore(): Promise<TestPatchbay> {
  const child = startProcess([], env);
  killed = child;
  const url = await child.url();
  const { status } = await send(`${url}/connect/default/c`, 'PUT', { mcpUrl: rig.server.mcpUrl });
  await followLogin((status as { setupUrl: string }).setupUrl);
  rig.server.book.expireAccessTokens();
  rig.server.behaviour.token.afterGrant = async () => {
    child.process.kill('SIGKILL');
    await child.exited;
  };
  await expect(send(`${url}/connect/default/c/mcp`, 'POST', rpc())).rejects.toThrow();
  expect(await child.exited).toBe(null);
  expect(refreshes(rig.server)).toHaveLength(1);
  rig.server.behaviour.token.afterGrant = undefined;

  rig.clock.advance(defaultLimits.renewLeaseMs);
  return rig.start({ env, database });
}

// pains 6
test('after a kill between grant and store, an authorization server that rotates ends in a login by the user on the same connection', async () => {
  const pb = await killBetweenGrantAndStore();
  expect(await stored(pb, 'c')).toEqual({ state: 'connected' });
  expect((await mcp(pb, 'c', rpc())).status).toBe(401);
  expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });
  expect(refreshes(rig.server)).toHaveLength(2);
  await logInAgain(pb, 'c');
  await untilState(pb, 'c', 'connected');
  await expectCallWorks(pb, 'c');
});

test('after a kill between grant and store, an authorization server that does not rotate goes on as if nothing had been', async () => {
  rig.server.behaviour.token.rotate = false;
  const pb = await killBetweenGrantAndStore();
  await expectCallWorks(pb, 'c');
  expect(refreshes(rig.server)).toHaveLength(2);
  expect(await stored(pb, 'c')).toEqual({ state: 'connected' });
});

test('after a kill right after the store, the new tokens are there and none are asked for', async () => {
  const child = startProcess([], env);
  killed = child;
  const url = await child.url();
  const { status } = await send(`${url}/connect/default/c`, 'PUT', { mcpUrl: rig.server.mcpUrl });
  await followLogin((status as { setupUrl: string }).setupUrl);
  rig.server.book.expireAccessTokens();
  // The first call with the new token is the first moment at which it must be stored.
  const isCalledAgain = Promise.withResolvers<void>();
  rig.server.behaviour.mcp.grantOf = (token) => {
    const grant = rig.server.book.grantOf(token);
    if (grant && refreshes(rig.server).length === 1) {
      child.process.kill('SIGKILL');
      isCalledAgain.resolve();
    }
    return grant;
  };
  await expect(send(`${url}/connect/default/c/mcp`, 'POST', rpc())).rejects.toThrow();
  await isCalledAgain.promise;
  await child.exited;
  rig.server.behaviour.mcp.grantOf = (token) => rig.server.book.grantOf(token);
  const pb = await rig.start({ env, database });
  await expectCallWorks(pb, 'c');
  expect(refreshes(rig.server)).toHaveLength(1);
});
