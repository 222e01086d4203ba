import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/platform/clock.ts';
import { put } from '../fixtures/fault.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { pair } from '../fixtures/uplink-client.ts';

describe('a tunnel is hung up on when', () => {
  let pb: TestPatchbay;
  let past = 0;
  beforeEach(async () => {
    past = 0;
    pb = await startPatchbay({
      limits: { uplinkPingMs: 50, identityCacheMs: 50, recordCacheMs: 50 },
      clock: { ...systemClock, now: () => Date.now() + past },
    });
    await put(pb, 'laptop', { transport: 'uplink', metadata: { userId: 'ada' } });
  });
  afterEach(() => pb.stop());
  const closing = { code: 1008, reason: 'the credential is not valid any more' };
  const mint = (policy: object) =>
    pb.sdk().tokens.create({ policy: [policy] } as never) as Promise<{ token: string }>;

  test('its token has expired', async () => {
    const { token } = await mint({ ttl: '1h' });
    const machine = await pair(pb, 'laptop', { key: token });
    past = 61 * 60_000;
    expect(await machine.closed).toEqual(closing);
    await expect(pair(pb, 'laptop', { key: token })).rejects.toThrow('401');
  });

  test('its key is revoked, and that of another machine is not', async () => {
    const own = (await (await pb.request('/organizations')).json()) as { organizations: { id: string }[] };
    const keys = `/organizations/${own.organizations[0]?.id}/api-keys`;
    const made = await pb.request(keys, { method: 'POST', json: { name: 'laptop' } });
    const { id, key } = (await made.json()) as { id: string; key: string };
    await put(pb, 'other', { transport: 'uplink' });
    const other = await pair(pb, 'other');
    const machine = await pair(pb, 'laptop', { key });
    await pb.request(`${keys}/${id}`, { method: 'DELETE' });
    expect(await machine.closed).toEqual(closing);
    expect(other.socket.readyState).toBe(other.socket.OPEN);
    await other.close();
  });

  test('its connection becomes one that its token may not write', async () => {
    const { token } = await mint({ metadata: { userId: 'ada' } });
    const machine = await pair(pb, 'laptop', { key: token });
    await put(pb, 'laptop', { metadata: { userId: 'bob' } });
    expect(await machine.closed).toEqual(closing);
  });
});
