import { beforeAll, describe, expect, test } from 'vitest';
import { SteppedClock } from '../fixtures/stepped-clock.ts';
import { refusal, useContract } from './harness.ts';

const clock = new SteppedClock();
const contract = useContract({ clock });
let orgId: string;
let other: { key: string; organizationId: string };

const keysPath = () => `/organizations/${orgId}/api-keys`;
const create = async (name: string) =>
  (await contract.request(keysPath(), { method: 'POST', json: { name } })).body as {
    id: string;
    key: string;
  };
const revoke = (id: string) => contract.request(`${keysPath()}/${id}`, { method: 'DELETE' });
const statusWith = async (key: string) => (await contract.request('/default', { key })).status;
const listed = async (id: string) => {
  const { body } = await contract.request(keysPath());
  return (body as { apiKeys: { id: string; lastUsedAt: string | null }[] }).apiKeys.find(
    (each) => each.id === id,
  );
};

beforeAll(async () => {
  other = await contract.pb.store.otherOrganization('elsewhere');
  const { body } = await contract.request('/organizations');
  orgId = (body as { organizations: { id: string }[] }).organizations[0]?.id as string;
});

describe('GET /organizations', () => {
  test('tells the caller its own, and what it is there', async () => {
    expect((await contract.request('/organizations')).body).toEqual({
      organizations: [{ id: orgId, name: 'default', role: 'admin' }],
    });
    const { token } = await contract.sdk().tokens.create();
    expect((await contract.request('/organizations', { key: token })).body).toEqual({
      organizations: [{ id: orgId, name: 'default', role: 'member' }],
    });
    expect((await contract.request('/organizations', { key: other.key })).body).toEqual({
      organizations: [{ id: other.organizationId, name: 'other', role: 'admin' }],
    });
  });
});

describe('the API keys of an organization', () => {
  test('are made with the SDK, shown once, and listed without their value', async () => {
    const { organizations } = contract.sdk();
    const made = await organizations.apiKeys.create(orgId, { name: 'for the build' });
    expect(made).toEqual({
      id: expect.stringMatching(/^key_/),
      name: 'for the build',
      key: expect.stringMatching(/^pb_[A-Za-z0-9]{40}$/),
      createdAt: new Date(clock.now()).toISOString(),
    });
    expect(await statusWith(made.key)).toBe(200);
    const list = await contract.request(keysPath());
    expect(list.text).not.toContain(made.key);
    const { apiKeys } = await organizations.apiKeys.list(orgId);
    expect(apiKeys).toContainEqual(expect.objectContaining({ id: made.id, name: 'for the build' }));
    expect(await organizations.apiKeys.delete(made.id, { orgId })).toEqual({ success: true });
    expect(await statusWith(made.key)).toBe(401);
  });

  test('tell when they were last used, by themselves or by a token', async () => {
    const { id, key } = await create('used');
    expect(await listed(id)).toMatchObject({ lastUsedAt: null });
    await statusWith(key);
    const first = new Date(clock.now()).toISOString();
    expect(await listed(id)).toMatchObject({ lastUsedAt: first });
    const { token } = await contract.sdk({ apiKey: key }).tokens.create();
    clock.step(61_000);
    await statusWith(token);
    expect(await listed(id)).toMatchObject({ lastUsedAt: new Date(clock.now()).toISOString() });
  });

  test('take all their tokens with them, at once, though they were remembered', async () => {
    const { id, key } = await create('parent');
    const { token } = await contract.sdk({ apiKey: key }).tokens.create();
    const child = (await contract.sdk({ apiKey: token }).tokens.create()).token;
    for (const each of [key, token, child]) expect(await statusWith(each)).toBe(200);
    expect((await revoke(id)).status).toBe(200);
    for (const each of [key, token, child]) expect(await statusWith(each)).toBe(401);
    expect(await statusWith(contract.pb.key)).toBe(200);
    expect((await revoke(id)).status).toBe(404);
  });

  test('are no matter of another organization, whether it exists or not', async () => {
    const { db } = contract.pb.store;
    const theirs = await db
      .selectFrom('api_keys')
      .select('id')
      .where('organization_id', '=', other.organizationId)
      .executeTakeFirstOrThrow();
    const answers = [];
    for (const organization of [other.organizationId, 'org_none']) {
      const path = `/organizations/${organization}/api-keys`;
      for (const [method, rest, json] of [
        ['GET', '', undefined],
        ['POST', '', { name: 'mine' }],
        ['DELETE', `/${theirs.id}`, undefined],
      ] as const) {
        const { status, text } = await contract.request(`${path}${rest}`, { method, json });
        answers.push(`${status} ${text}`);
      }
    }
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toMatch(/^403 .*no admin/);
    for (const id of [theirs.id, 'none', '%00']) {
      expect([id, (await revoke(id)).status]).toEqual([id, 404]);
    }
    expect(await statusWith(other.key)).toBe(404);
  });

  test('are no matter of a service token, whatever it may do', async () => {
    const apiKey = (await contract.sdk().tokens.create()).token;
    const { apiKeys } = contract.sdk({ apiKey }).organizations;
    expect(await refusal(apiKeys.create(orgId, { name: 'for ever' }))).toMatchObject({ status: 403 });
    expect(await refusal(apiKeys.list(orgId))).toMatchObject({ status: 403 });
    expect((await contract.request('/audit', { key: apiKey })).status).toBe(403);
  });

  test.each([
    [{}, /name/],
    [{ name: '' }, /name/],
    [{ name: 'x'.repeat(257) }, /name/],
    [{ name: 'a\u0000b' }, /name: must have no control characters/],
    [{ name: 'x', admin: true }, /admin/],
  ])('have a name: %j is refused', async (json, message) => {
    const answer = await contract.request(keysPath(), { method: 'POST', json });
    expect(answer).toMatchObject({ status: 400, body: { error: expect.stringMatching(message) } });
  });
});
