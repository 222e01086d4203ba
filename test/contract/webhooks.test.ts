import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type RequestOptions, useContract } from './harness.ts';

const path = '/namespaces/default/webhooks';
const url = 'https://app.example.com/hooks';

const contract = useContract({ env: { PATCHBAY_LOG_LEVEL: 'trace' } });
let otherKey: string;

beforeAll(async () => {
  otherKey = (await contract.pb.store.otherOrganization('others-own')).key;
});
beforeEach(() => contract.pb.store.db.deleteFrom('webhooks').execute());

async function send(init: RequestOptions = {}, at = path) {
  const { status, text } = await contract.request(at, init);
  return { status, text, body: JSON.parse(text) };
}
const post = (json: unknown, at?: string) => send({ method: 'POST', json }, at);
const remove = (id: string, at = path) => send({ method: 'DELETE' }, `${at}/${id}`);
const listed = async (): Promise<{ id: string; url: string }[]> => (await send()).body.webhooks;

describe.each([
  ['GET', path],
  ['POST', path],
  ['DELETE', `${path}/wh_x`],
])('%s %s', (method, at) => {
  const json = method === 'POST' ? { json: { url } } : {};

  test('answers 401 without a key and with a wrong one', async () => {
    for (const key of [null, 'wrong-key-000000']) {
      const { status, body } = await send({ method, key, ...json }, at);
      expect({ status, body }).toEqual({ status: 401, body: { error: expect.any(String) } });
    }
  });

  test('answers 404 for another organization’s namespace, as for one that is not there', async () => {
    for (const [key, namespace] of [
      [contract.pb.key, 'nobody-has-it'],
      [contract.pb.key, 'others-own'],
      [otherKey, 'default'],
    ] as const) {
      const { status, body } = await send({ method, key, ...json }, at.replace('default', namespace));
      expect({ status, body }).toEqual({
        status: 404,
        body: { error: 'Namespace not found or access denied' },
      });
    }
    expect(await contract.pb.store.db.selectFrom('webhooks').selectAll().execute()).toEqual([]);
  });
});

describe('POST /namespaces/{namespace}/webhooks', () => {
  test('answers 201 with the secret, and wants both events unless told', async () => {
    const { status, body } = await post({ url });
    expect({ status, body }).toEqual({
      status: 201,
      body: {
        id: expect.stringMatching(/^wh_[\w-]{22}$/),
        url,
        events: ['connection.auth_required', 'connection.recovered', 'connection.tools_changed'],
        createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
        secret: expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/),
      },
    });
    const chosen = await post({ url, events: ['connection.recovered', 'connection.recovered'] });
    expect(chosen).toMatchObject({ status: 201, body: { events: ['connection.recovered'] } });
    expect(chosen.body.secret).not.toBe(body.secret);
  });

  test.each([
    ['http://127.0.0.1:3000/hooks', 'http://127.0.0.1:3000/hooks'],
    ['https://APP.example.com:443/a b?token=x%20y#part', 'https://app.example.com/a%20b?token=x%20y'],
  ])('keeps %s in its canonical form', async (given, kept) => {
    expect(await post({ url: given })).toMatchObject({ status: 201, body: { url: kept } });
    expect(await listed()).toMatchObject([{ url: kept }]);
  });

  test.each([
    ['no URL', 'not a url'],
    ['a path alone', '/hooks'],
    ['another scheme', 'ftp://app.example.com/'],
    ['a script', 'javascript:alert(1)'],
    ['a file', 'file:///etc/passwd'],
    ['a user name', 'https://user@app.example.com/'],
    ['a password', 'https://:sentinel@app.example.com/'],
    ['a length over the limit', `https://app.example.com/${'x'.repeat(2048)}`],
    ['a number', 7],
    ['null', null],
  ])('refuses %s as its url: 400', async (_what, bad) => {
    const { status, body } = await post({ url: bad });
    expect({ status, body }).toEqual({ status: 400, body: { error: expect.stringMatching(/^url: /) } });
    expect(body.error).not.toContain('sentinel');
    expect(await listed()).toEqual([]);
  });

  test.each([
    ['an unknown key', { url, secret: 'whsec_mine' }],
    ['no url', {}],
    ['an unknown event', { url, events: ['connection.created'] }],
    ['no event', { url, events: [] }],
    ['events that are no list', { url, events: 'connection.recovered' }],
    ['a list for a body', [{ url }]],
    ['nothing for a body', undefined],
  ])('refuses %s: 400', async (_what, json) => {
    const { status, body } = await post(json);
    expect({ status, body }).toEqual({ status: 400, body: { error: expect.any(String) } });
    expect(await listed()).toEqual([]);
  });

  test('registers 20 and no more, though many ask at once; a deleted one makes room', async () => {
    const answers = await Promise.all(Array.from({ length: 30 }, () => post({ url })));
    const refused = answers.filter(({ status }) => status !== 201);
    expect(refused).toHaveLength(10);
    for (const { status, body } of refused) {
      expect({ status, body }).toEqual({
        status: 400,
        body: { error: expect.stringContaining('at most 20') },
      });
    }
    const webhooks = await listed();
    expect(webhooks).toHaveLength(20);
    await remove(webhooks[0]?.id ?? '');
    expect((await post({ url })).status).toBe(201);
    expect((await post({ url })).status).toBe(400);
  });

  test('shows the secret once, and keeps it sealed', async () => {
    const { body } = await post({ url });
    const secret = body.secret.slice('whsec_'.length) as string;
    const rows = await contract.pb.store.db.selectFrom('webhooks').selectAll().execute();
    expect(rows).toHaveLength(1);
    const spellings = ['base64', 'base64url', 'hex'] as const;
    const seen = JSON.stringify(rows) + (await send()).text + contract.pb.logs.join('');
    for (const spelling of spellings) {
      expect(seen).not.toContain(Buffer.from(secret, 'base64').toString(spelling));
    }
  });
});

describe('GET /namespaces/{namespace}/webhooks', () => {
  test('lists them oldest first, without their secrets', async () => {
    const made = [];
    for (const n of [1, 2, 3]) made.push((await post({ url: `${url}/${n}` })).body);
    const { status, body } = await send();
    expect(status).toBe(200);
    const byTime = [...made].sort((a, b) => a.createdAt.localeCompare(b.createdAt) || (a.id < b.id ? -1 : 1));
    expect(body).toEqual({ webhooks: byTime.map(({ secret: _secret, ...shown }) => shown) });
  });

  test('shows those of its namespace only', async () => {
    await post({ url });
    const theirs = await send({ key: otherKey }, path.replace('default', 'others-own'));
    expect(theirs).toMatchObject({ status: 200, body: { webhooks: [] } });
  });
});

describe('DELETE /namespaces/{namespace}/webhooks/{webhookId}', () => {
  test('deletes it, once', async () => {
    const { body } = await post({ url });
    expect(await remove(body.id)).toMatchObject({ status: 200, body: { success: true } });
    expect(await listed()).toEqual([]);
    expect(await remove(body.id)).toMatchObject({ status: 404, body: { error: 'Webhook not found' } });
  });

  test('does not reach into another namespace', async () => {
    const { body } = await post({ url });
    const theirs = path.replace('default', 'others-own');
    const { status } = await send({ method: 'DELETE', key: otherKey }, `${theirs}/${body.id}`);
    expect(status).toBe(404);
    expect(await listed()).toHaveLength(1);
  });

  test.each(['%00', '%ED%A0%80', '..%2F..', 'x'.repeat(5_000), "'%20or%201=1"])(
    'answers 4xx for the id %s',
    async (id) => {
      await post({ url });
      const { status } = await remove(id);
      expect([400, 404]).toContain(status);
      expect(await listed()).toHaveLength(1);
    },
  );
});

test('webhooks go with their namespace, and do not come back with one of the same name', async () => {
  const at = path.replace('default', 'gone-soon');
  const make = () => contract.request('/namespaces/gone-soon', { method: 'PUT', json: {} });
  await make();
  expect((await post({ url }, at)).status).toBe(201);
  await contract.request('/namespaces/gone-soon', { method: 'DELETE' });
  await make();
  expect(await send({}, at)).toMatchObject({ status: 200, body: { webhooks: [] } });
});
