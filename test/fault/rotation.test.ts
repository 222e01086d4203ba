import { afterEach, expect, test } from 'vitest';
import { systemClock } from '../../src/platform/clock.ts';
import { readConfig, readNewMasterKey } from '../../src/platform/config.ts';
import { defaultLimits } from '../../src/platform/limits.ts';
import { openMasterKey } from '../../src/platform/master-key.ts';
import { rotateKeys } from '../../src/platform/rotate-keys.ts';
import { openStore } from '../../src/platform/store/store.ts';
import { testsOnPostgres } from '../fixtures/database.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';
import { legacyServer, startUpstream } from '../fixtures/upstream.ts';

let stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.reverse()) await stop();
  stops = [];
});

async function rotateBeside(pb: TestPatchbay, newMasterKey: string): Promise<void> {
  const config = readConfig(pb.env);
  const store = await openStore(config);
  try {
    const current = await openMasterKey(store, config.dataDir, config.masterKey);
    const given = readNewMasterKey({ PATCHBAY_NEW_MASTER_KEY: newMasterKey });
    await rotateKeys({ store, clock: systemClock, limits: defaultLimits }, current, given, () => {});
  } finally {
    await store.close();
  }
}

const header = (pb: TestPatchbay, id: string, value: string) =>
  pb.request(`/default/${id}`, { method: 'PUT', json: { headers: { 'x-key': value } } });

test.skipIf(!testsOnPostgres)(
  'after a rotation beside it a server opens no secret, says why in the log, and goes on without them',
  async () => {
    const upstream = await startUpstream(legacyServer().handler);
    stops.push(upstream.stop);
    const old = await startPatchbay();
    stops.push(old.stop);
    for (const id of ['sealed', 'open']) {
      const json = { mcpUrl: upstream.url, ...(id === 'sealed' && { headers: { 'x-key': 'first' } }) };
      expect((await old.request(`/default/${id}`, { method: 'PUT', json })).status).toBe(201);
    }
    expect((await old.request('/default/sealed/.tools')).status).toBe(200);

    const newMasterKey = Buffer.alloc(32, 7).toString('base64');
    await rotateBeside(old, newMasterKey);
    // What this process remembers goes stale by a message of the database.
    await until(async () => (await old.request('/default/sealed/.tools')).status === 500);
    expect((await header(old, 'open', 'x')).status).toBe(500);
    expect(old.logs.join('')).toMatch(/Sealed with a newer master key/);
    expect((await old.request('/default/open/.tools')).status).toBe(200);
    expect((await old.request('/default/sealed')).status).toBe(200);

    const restarted = await startPatchbay({
      env: { ...old.env, PATCHBAY_MASTER_KEY: newMasterKey, PATCHBAY_DATA_DIR: `${old.dataDir}/next` },
      database: { env: {}, url: old.env.PATCHBAY_DATABASE_URL, dataDir: old.dataDir, drop: async () => {} },
    });
    stops.push(restarted.stop);
    expect((await restarted.request('/default/sealed/.tools')).status).toBe(200);
    expect(upstream.received.at(-1)?.headers['x-key']).toBe('first');
  },
);
