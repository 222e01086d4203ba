import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { legacyServer } from '../fixtures/upstream.ts';
import { type RequestOptions, useContract } from './harness.ts';

const contract = useContract();
let otherKey: string;
let mcpUrl: string;
beforeAll(async () => {
  otherKey = (await contract.pb.store.otherOrganization('others-own')).key;
  mcpUrl = (await contract.upstream(legacyServer().handler)).url;
});

const unset = { callTimeoutMs: null, idleTimeoutMs: null, maxCallMs: null };
const put = (path: string, json: unknown = {}) =>
  contract.request(path, { method: 'PUT', json: { mcpUrl, ...(json as object) } });

async function send(init: RequestOptions = {}, at = '/connect/default/c/.settings') {
  const { status, body } = await contract.request(at, init);
  return { status, body };
}
const patch = (json: unknown, at?: string) => send({ method: 'PATCH', json }, at);

beforeEach(async () => {
  await contract.request('/connect/default/c', { method: 'DELETE' });
  expect((await put('/connect/default/c')).status).toBe(201);
});

describe.each(['GET', 'PATCH'])('%s /connect/{namespace}/{connectionId}/.settings', (method) => {
  const json = method === 'PATCH' ? { json: { maxCallMs: 5_000 } } : {};

  test('answers 401 without a key and with a wrong one', async () => {
    for (const key of [null, 'wrong-key-000000']) {
      expect((await send({ method, key, ...json })).status).toBe(401);
    }
    expect((await send()).body).toEqual(unset);
  });

  test('answers 404 for another organization’s namespace, as for one that is not there', async () => {
    const missing = await send({ method, ...json }, '/connect/nobody-has-it/c/.settings');
    expect(missing).toMatchObject({ status: 404, body: { error: 'namespace_not_found' } });
    expect(await send({ method, ...json }, '/connect/others-own/c/.settings')).toEqual(missing);
    expect(await send({ method, key: otherKey, ...json })).toEqual(missing);
    expect((await send()).body).toEqual(unset);
  });

  test('answers 404 for a connection that is not there', async () => {
    const answer = await send({ method, ...json }, '/connect/default/not-there/.settings');
    expect(answer).toMatchObject({ status: 404, body: { error: 'connection_not_found' } });
    const strange = await send({ method, ...json }, '/connect/default/no%00thing/.settings');
    expect(strange).toMatchObject({ status: 404, body: { error: 'connection_not_found' } });
  });
});

describe('the settings of a connection', () => {
  test('are null, which is the default, until they are set', async () => {
    expect(await send()).toEqual({ status: 200, body: unset });
  });

  test('are the same under both forms of its path', async () => {
    const set = await patch({ maxCallMs: 7_200_000 }, '/default/c/.settings');
    expect(set).toEqual({ status: 200, body: { ...unset, maxCallMs: 7_200_000 } });
    expect(await send()).toEqual(set);
    expect(await send({}, '/default/c/.settings')).toEqual(set);
  });

  test('keep what a PATCH leaves out, and go back to the default with null', async () => {
    await patch({ callTimeoutMs: 600_000, idleTimeoutMs: 1_000 });
    const body = { callTimeoutMs: 600_000, idleTimeoutMs: 1_000, maxCallMs: null };
    expect(await patch({})).toEqual({ status: 200, body });
    expect((await patch({ callTimeoutMs: null })).body).toEqual({ ...body, callTimeoutMs: null });
    expect((await send()).body).toEqual({ ...body, callTimeoutMs: null });
  });

  test('outlive a PUT of the connection, new headers, and a restart', async () => {
    await patch({ callTimeoutMs: 600_000 });
    await put('/connect/default/c', { headers: { 'x-key': 'k' } });
    await contract.pb.restart();
    expect((await send()).body).toEqual({ ...unset, callTimeoutMs: 600_000 });
  });

  test('go with the connection', async () => {
    await patch({ callTimeoutMs: 600_000 });
    await contract.request('/connect/default/c', { method: 'DELETE' });
    expect((await send()).status).toBe(404);
    await put('/connect/default/c');
    expect((await send()).body).toEqual(unset);
  });

  test('leave what the API shows of the connection as it is', async () => {
    const before = (await contract.request('/connect/default/c')).body;
    await patch({ callTimeoutMs: 600_000 });
    expect((await contract.request('/connect/default/c')).body).toEqual(before);
  });

  test('lose none of many PATCHes at once', async () => {
    await Promise.all([
      patch({ callTimeoutMs: 2_000 }),
      patch({ idleTimeoutMs: 3_000 }),
      patch({ maxCallMs: 4_000 }),
    ]);
    expect((await send()).body).toEqual({ callTimeoutMs: 2_000, idleTimeoutMs: 3_000, maxCallMs: 4_000 });
  });

  test.each([
    [{ callTimeoutMs: 999 }, 'callTimeoutMs'],
    [{ callTimeoutMs: 3_600_001 }, 'callTimeoutMs'],
    [{ idleTimeoutMs: 0 }, 'idleTimeoutMs'],
    [{ idleTimeoutMs: 3_600_001 }, 'idleTimeoutMs'],
    [{ maxCallMs: -1 }, 'maxCallMs'],
    [{ maxCallMs: 24 * 3_600_000 + 1 }, 'maxCallMs'],
    [{ maxCallMs: 1_000.5 }, 'maxCallMs'],
    [{ maxCallMs: '5000' }, 'maxCallMs'],
    [{ maxCallMs: 5_000, colour: 'red' }, 'colour'],
    [[], 'body'],
    [null, 'body'],
  ])('refuse %j, naming %s, and change nothing', async (json, field) => {
    await patch({ maxCallMs: 9_000 });
    const answer = await patch(json);
    expect(answer).toMatchObject({ status: 400, body: { error: 'validation_error' } });
    expect((answer.body as { message: string }).message).toContain(field);
    expect((await send()).body).toEqual({ ...unset, maxCallMs: 9_000 });
  });

  test('take the least and the most', async () => {
    const most = { callTimeoutMs: 3_600_000, idleTimeoutMs: 3_600_000, maxCallMs: 24 * 3_600_000 };
    expect(await patch(most)).toEqual({ status: 200, body: most });
    const least = { callTimeoutMs: 1_000, idleTimeoutMs: 1_000, maxCallMs: 1_000 };
    expect(await patch(least)).toEqual({ status: 200, body: least });
  });
});
