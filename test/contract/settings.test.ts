import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type RequestOptions, useContract } from './harness.ts';

const path = '/namespaces/default/settings';

const contract = useContract();
let otherKey: string;
beforeAll(async () => {
  otherKey = (await contract.pb.store.otherOrganization('others-own')).key;
});
beforeEach(() => contract.pb.store.db.updateTable('namespaces').set({ settings: null }).execute());

async function send(init: RequestOptions = {}, at = path) {
  const { status, body } = await contract.request(at, init);
  return { status, body };
}
const patch = (json: unknown, at?: string) => send({ method: 'PATCH', json }, at);

describe.each(['GET', 'PATCH'])('%s /namespaces/{namespace}/settings', (method) => {
  const json = method === 'PATCH' ? { json: { returnUrls: [] } } : {};

  test('answers 401 without a key and with a wrong one', async () => {
    for (const key of [null, 'wrong-key-000000']) {
      const answer = await send({ method, key, ...json });
      expect(answer).toEqual({ status: 401, body: { error: expect.any(String) } });
    }
  });

  test('answers 404 for another organization’s namespace, as for one that is not there', async () => {
    const missing = await send({ method, ...json }, '/namespaces/nobody-has-it/settings');
    expect(missing).toEqual({ status: 404, body: { error: 'Namespace not found or access denied' } });
    expect(await send({ method, ...json }, '/namespaces/others-own/settings')).toEqual(missing);
    expect(await send({ method, key: otherKey, ...json })).toEqual(missing);
    expect(await send({ method, ...json }, '/namespaces/no%00thing/settings')).toEqual(missing);
  });
});

describe('settings', () => {
  test('are there before anything was set', async () => {
    expect(await send()).toEqual({
      status: 200,
      body: { returnUrls: [], limits: {}, quarantine: false, auditDetail: false },
    });
  });

  test('keep what was set, in the form in which it is compared, and what a PATCH leaves out', async () => {
    const body = {
      returnUrls: ['https://app.example/', 'http://localhost:3000/done'],
      limits: {},
      quarantine: false,
      auditDetail: false,
    };
    expect(await patch({ returnUrls: ['https://APP.example', 'http://localhost:3000/x/../done'] })).toEqual({
      status: 200,
      body,
    });
    expect(await send()).toEqual({ status: 200, body });
    expect(await patch({})).toEqual({ status: 200, body });
    await contract.pb.restart();
    expect(await send()).toEqual({ status: 200, body });
  });

  test('are replaced one by one, each as a whole', async () => {
    await patch({ returnUrls: ['https://a.example/'] });
    await patch({ limits: { connectionOpenCalls: 3, connectionsPerNamespace: 7 } });
    expect((await patch({ returnUrls: ['https://b.example/'] })).body).toEqual({
      returnUrls: ['https://b.example/'],
      limits: { connectionOpenCalls: 3, connectionsPerNamespace: 7 },
      quarantine: false,
      auditDetail: false,
    });
    expect((await patch({ limits: { connectionOpenCalls: 4 } })).body).toEqual({
      returnUrls: ['https://b.example/'],
      limits: { connectionOpenCalls: 4 },
      quarantine: false,
      auditDetail: false,
    });
    expect((await patch({ returnUrls: [], limits: {} })).body).toEqual({
      returnUrls: [],
      limits: {},
      quarantine: false,
      auditDetail: false,
    });
  });

  test('belong to one namespace', async () => {
    await contract.request('/namespaces/second', { method: 'PUT', json: {} });
    await patch({ returnUrls: ['https://a.example/'] });
    expect((await send({}, '/namespaces/second/settings')).body).toEqual({
      returnUrls: [],
      limits: {},
      quarantine: false,
      auditDetail: false,
    });
    expect((await send({ key: otherKey }, '/namespaces/others-own/settings')).body).toEqual({
      returnUrls: [],
      limits: {},
      quarantine: false,
      auditDetail: false,
    });
  });

  test('go with the namespace', async () => {
    const at = '/namespaces/gone-soon/settings';
    await contract.request('/namespaces/gone-soon', { method: 'PUT', json: {} });
    await patch({ returnUrls: ['https://a.example/'] }, at);
    await contract.request('/namespaces/gone-soon', { method: 'DELETE' });
    expect((await send({}, at)).status).toBe(404);
    expect((await patch({ returnUrls: [] }, at)).status).toBe(404);
    await contract.request('/namespaces/gone-soon', { method: 'PUT', json: {} });
    expect((await send({}, at)).body).toEqual({
      returnUrls: [],
      limits: {},
      quarantine: false,
      auditDetail: false,
    });
  });

  test('are not those of a namespace that became another organization’s while it was still remembered', async () => {
    await contract.request('/namespaces/changes-hands', { method: 'PUT', json: {} });
    const at = '/namespaces/changes-hands/settings';
    expect((await send({}, at)).status).toBe(200);
    const other = await contract.pb.store.db
      .selectFrom('namespaces')
      .select('organization_id')
      .where('name', '=', 'others-own')
      .executeTakeFirstOrThrow();
    await contract.pb.store.db
      .updateTable('namespaces')
      .set(other)
      .where('name', '=', 'changes-hands')
      .execute();
    expect((await patch({ returnUrls: ['https://evil.example/'] }, at)).status).toBe(404);
    const row = await contract.pb.store.db
      .selectFrom('namespaces')
      .select('settings')
      .where('name', '=', 'changes-hands')
      .executeTakeFirst();
    expect(row).toEqual({ settings: null });
  });

  test('take twenty return URLs and no more', async () => {
    const urls = Array.from({ length: 21 }, (_, i) => `https://app.example/${i}`);
    expect(await patch({ returnUrls: urls })).toEqual({
      status: 400,
      body: { error: 'returnUrls: must have at most 20 entries.' },
    });
    expect((await patch({ returnUrls: urls.slice(1) })).body).toMatchObject({
      returnUrls: urls.slice(1),
    });
  });

  test.each([
    [{ colour: 'red' }, 'colour'],
    [{ returnUrls: [], colour: 'red' }, 'colour'],
    [{ returnUrls: 'https://app.example/' }, 'returnUrls'],
    [{ returnUrls: null }, 'returnUrls'],
    [{ returnUrls: ['https://app.example/', 1] }, 'returnUrls.1'],
    [{ returnUrls: ['https://app.example/', '/done'] }, 'returnUrls.1'],
    [{ returnUrls: ['http://app.example/'] }, 'returnUrls.0'],
    [{ returnUrls: ['https://u:p@app.example/'] }, 'returnUrls.0'],
    [{ returnUrls: ['https://app.example/#x'] }, 'returnUrls.0'],
    [{ returnUrls: ['https://app.example/?x=1'] }, 'returnUrls.0'],
    [{ returnUrls: ['javascript:alert(1)'] }, 'returnUrls.0'],
    [{ returnUrls: [`https://app.example/${'x'.repeat(2048)}`] }, 'returnUrls.0'],
    [{ limits: { connectionOpenCalls: 0 } }, 'limits.connectionOpenCalls'],
    [{ limits: { connectionOpenCalls: 1.5 } }, 'limits.connectionOpenCalls'],
    [{ limits: { connectionOpenCalls: 100_000_000 } }, 'limits.connectionOpenCalls'],
    [{ limits: { keyOpenCalls: 1 } }, 'keyOpenCalls'],
    [{ limits: null }, 'limits'],
    [{ quarantine: 'yes' }, 'quarantine'],
    [[], 'body'],
    [null, 'body'],
  ])('refuse %j, naming %s, and change nothing', async (json, field) => {
    await patch({ returnUrls: ['https://kept.example/'] });
    const answer = await patch(json);
    expect(answer).toEqual({ status: 400, body: { error: expect.stringContaining(field) } });
    expect((await send()).body).toEqual({
      returnUrls: ['https://kept.example/'],
      limits: {},
      quarantine: false,
      auditDetail: false,
    });
  });

  test('lose none of many PATCHes at once', async () => {
    const urls = Array.from({ length: 20 }, (_, i) => `https://app.example/${i}`);
    const answers = await Promise.all(urls.map((url) => patch({ returnUrls: [url] })));
    // Each answer is what its own PATCH made; the last one to commit stays.
    expect(answers.map(({ body }) => body)).toEqual(
      urls.map((url) => ({ returnUrls: [url], limits: {}, quarantine: false, auditDetail: false })),
    );
    expect(
      urls.map((url) => ({ returnUrls: [url], limits: {}, quarantine: false, auditDetail: false })),
    ).toContainEqual((await send()).body);
  });
});
