import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '../../src/platform/clock.ts';
import { readConfig } from '../../src/platform/config.ts';
import { defaultLimits } from '../../src/platform/limits.ts';
import { openMasterKey } from '../../src/platform/master-key.ts';
import { rotateKeys } from '../../src/platform/rotate-keys.ts';
import { Secret } from '../../src/platform/secret.ts';
import { openStore } from '../../src/platform/store/store.ts';
import { testsOnPostgres } from '../fixtures/database.ts';
import { type StartOptions, startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { SteppedClock } from '../fixtures/stepped-clock.ts';
import { until } from '../fixtures/until.ts';

let stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.reverse()) await stop();
  stops = [];
});

async function start(options: StartOptions = {}): Promise<TestPatchbay> {
  const pb = await startPatchbay(options);
  stops.push(pb.stop);
  return pb;
}

/** Another process on the database of `pb`. */
function startBeside(pb: TestPatchbay, env: Record<string, string> = {}): Promise<TestPatchbay> {
  const dataDir = `${pb.dataDir}/next-${stops.length}`;
  const database = { env: {}, url: pb.env.PATCHBAY_DATABASE_URL, dataDir: pb.dataDir, drop: async () => {} };
  return start({ env: { ...pb.env, ...env, PATCHBAY_DATA_DIR: dataDir }, database });
}

/** What `patchbay keys rotate` does; on SQLite the server must not be running. */
async function rotate(pb: TestPatchbay, given?: Buffer): Promise<void> {
  const config = readConfig(pb.env);
  const store = await openStore(config);
  try {
    const current = await openMasterKey(store, config.dataDir, config.masterKey);
    const deps = { store, clock: systemClock, limits: defaultLimits };
    await rotateKeys(deps, current, given && new Secret(given), () => {});
  } finally {
    await store.close();
  }
}

const mint = async (pb: TestPatchbay) => (await pb.sdk().tokens.create()).token;
const statusWith = async (pb: TestPatchbay, key: string) => (await pb.request('/default', { key })).status;
const kidOf = (token: string) => decodeProtectedHeader(token).kid as string;

test.skipIf(testsOnPostgres)(
  'a rotation of keys leaves live tokens good, and new ones get another key',
  async () => {
    const clock = new SteppedClock();
    const pb = await start({ clock });
    const before = await mint(pb);
    await pb.restart();
    expect(await statusWith(pb, before)).toBe(200);
    expect(kidOf(await mint(pb))).toBe(kidOf(before));

    await pb.restart(() => rotate(pb));
    const [retired] = await pb.store.db.selectFrom('signing_keys').selectAll().execute();
    expect(retired).toMatchObject({ wrapped: null, retired_at: expect.any(Number) });
    expect(await statusWith(pb, before)).toBe(200);
    const after = await mint(pb);
    expect(kidOf(after)).not.toBe(kidOf(before));
    expect(await statusWith(pb, after)).toBe(200);
    const published = async () => {
      const answer = await pb.request('/.well-known/jwks.json', { key: null });
      return ((await answer.json()) as { keys: { kid: string }[] }).keys.map(({ kid }) => kid);
    };
    expect(await published()).toHaveLength(2);

    // The retired one goes with the last token that it can have signed.
    clock.step(25 * 3_600_000 + 60_000);
    await pb.restart();
    expect(await published()).toEqual([kidOf(after)]);
  },
);

test.skipIf(!testsOnPostgres)(
  'processes on one database take each other’s tokens, and hear of their end',
  async () => {
    const first = await start();
    const second = await startBeside(first);
    for (const [minter, other] of [
      [first, second],
      [second, first],
    ] as const) {
      const token = await mint(minter);
      expect(await statusWith(other, token)).toBe(200);
      const revoked = await minter.request(`/tokens/${decodeJwt(token).jti}`, { method: 'DELETE' });
      expect(revoked.status).toBe(200);
      expect(await statusWith(minter, token)).toBe(401);
      await until(async () => (await statusWith(other, token)) === 401);
    }
  },
);

test.skipIf(!testsOnPostgres)(
  'a process that was not restarted after a rotation verifies tokens, and mints none',
  async () => {
    const old = await start();
    const token = await mint(old);
    const next = Buffer.alloc(32, 9);
    await rotate(old, next);
    await until(async () => (await old.request('/tokens', { method: 'POST' })).status === 500);
    expect(await statusWith(old, token)).toBe(200);
    const restarted = await startBeside(old, { PATCHBAY_MASTER_KEY: next.toString('base64') });
    const fresh = await mint(restarted);
    expect(await statusWith(old, fresh)).toBe(200);
    expect(await statusWith(restarted, token)).toBe(200);
  },
);

test('a token without its API key is none', async () => {
  const pb = await start();
  const { key: apiKey, organizationId } = await pb.store.otherOrganization('other-space');
  const { token } = await pb.sdk({ apiKey }).tokens.create();
  await pb.store.db.deleteFrom('api_keys').where('organization_id', '=', organizationId).execute();
  const answer = await pb.request('/other-space', { key: token });
  expect([answer.status, await answer.json()]).toEqual([
    401,
    {
      error: 'invalid_token',
      message: 'Invalid API key or session token: the API key that it descends from was revoked.',
    },
  ]);
});
