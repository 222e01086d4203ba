import { beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/platform/clock.ts';
import { type Browser, openBrowser, type Page } from '../fixtures/oauth/browser.ts';
import { until } from '../fixtures/until.ts';
import { useContract } from './harness.ts';

let past = 0;
const contract = useContract({ clock: { ...systemClock, now: () => Date.now() + past } });
const day = 24 * 3_600_000;
type Role = 'owner' | 'admin' | 'member';
interface Invitation {
  id: string;
  role: Role;
  url: string;
  createdAt: string;
  expiresAt: string;
}

let other: { key: string; organizationId: string };
let made = 0;
beforeAll(async () => {
  other = await contract.pb.store.otherOrganization('elsewhere');
});

/** An organization of its own for a test, and a key of it. */
async function organization() {
  const { organizationId, key } = await contract.pb.store.otherOrganization(`team-${made++}`);
  const path = `/organizations/${organizationId}`;
  const ask = (method: string, rest: string, json?: unknown, as = key) =>
    contract.request(`${path}${rest}`, { method, key: as, ...(json !== undefined && { json }) });
  const join = async (role: Role) => {
    const member = await contract.pb.store.member(organizationId, role);
    return {
      ...member,
      ask: (method: string, rest: string, json?: unknown) => ask(method, rest, json, member.key),
    };
  };
  const invite = async (role: Role, as = key) =>
    (await ask('POST', '/invitations', { role }, as)).body as Invitation;
  const members = async () =>
    ((await ask('GET', '/members')).body as { members: { userId: string; name: string; role: Role }[] })
      .members;
  return { id: organizationId, key, path, ask, join, invite, members };
}

const take = async (browser: Browser, page: Page, name?: string) =>
  browser.submit(page, name === undefined ? {} : { name }, 'Join');
const keyIn = (page: Page) => /<code class="secret">(pb_\w{40})<\/code>/.exec(page.text)?.[1] as string;

describe('an invitation', () => {
  test('makes who comes with its link a member, with an API key that is shown once', async () => {
    const { id, invite, members, ask } = await organization();
    const invitation = await invite('member');
    expect(invitation).toEqual({
      id: expect.stringMatching(/^inv_/),
      role: 'member',
      url: expect.stringMatching(/\/login\/invitation\?invitation=[\w-]{43}$/),
      createdAt: expect.any(String),
      expiresAt: expect.any(String),
    });
    expect(Date.parse(invitation.expiresAt) - Date.parse(invitation.createdAt)).toBe(7 * day);
    const browser = openBrowser();
    const page = await browser.get(invitation.url);
    expect(page.text).toContain('Join other?');
    expect(page.text).toContain('An admin');
    expect(page.text).toContain('member: uses its connections');
    const joined = await take(browser, page, 'Ada Lovelace');
    expect([joined.status, joined.text]).toEqual([200, expect.stringContaining('You are a member of other')]);
    const key = keyIn(joined);
    expect(await members()).toEqual([
      expect.objectContaining({ name: 'Ada Lovelace', role: 'member', email: null }),
    ]);
    // The key is hers, the browser is signed in as her, and the link is of no more use.
    expect((await contract.request('/organizations', { key })).body).toEqual({
      organizations: [{ id, name: 'other', role: 'member' }],
    });
    const login = await browser.get(`${contract.url}/login`);
    expect(login.text).toContain('<strong dir="auto">Ada Lovelace</strong>');
    expect((await openBrowser().get(invitation.url)).status).toBe(410);
    expect((await take(browser, page, 'Eve')).status).toBe(410);
    expect((await ask('GET', '/invitations')).body).toEqual({ invitations: [] });
    const secret = new URL(invitation.url).searchParams.get('invitation') as string;
    for (const sentinel of [secret, key]) expect(contract.pb.logs.join('')).not.toContain(sentinel);
  });

  test('is taken once, by whichever of many is first', async () => {
    const { invite, members } = await organization();
    const { url } = await invite('member');
    const comers = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const browser = openBrowser();
        return { browser, page: await browser.get(url) };
      }),
    );
    const answers = await Promise.all(
      comers.map(({ browser, page }, i) => take(browser, page, `number ${i}`)),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(410)]);
    expect(await members()).toHaveLength(1);
  });

  test('makes a signed-in user a member of one more organization, and is left where it is by a member', async () => {
    const [first, second] = [await organization(), await organization()];
    const { userId } = await first.join('member');
    const browser = openBrowser();
    browser.setCookie(
      contract.url,
      await contract.pb.store.session({ keyId: null, userId, organizationId: first.id }),
    );
    const { url } = await second.invite('admin');
    const page = await browser.get(url);
    expect(page.text).not.toContain('Your name');
    const joined = await browser.follow(await take(browser, page));
    expect(joined.text).toContain('(admin)');
    expect(await second.members()).toEqual([expect.objectContaining({ userId, role: 'admin' })]);
    const again = await second.invite('member');
    expect((await take(browser, await browser.get(again.url))).text).toContain('You are a member already');
    expect((await second.ask('GET', '/invitations')).body).toMatchObject({ invitations: [{ id: again.id }] });
    // The session may act in both.
    const switched = await browser.follow(
      await browser.submit(await browser.get(`${contract.url}/login`), { organization: first.id }, 'Switch'),
    );
    expect(switched.text).toContain('(member)');
    const back = await browser.submit(switched, { organization: other.organizationId }, 'Switch');
    expect((await browser.follow(back)).text).toContain('(member)');
  });

  test('asks for a name that can be shown', async () => {
    const { invite } = await organization();
    const { url } = await invite('member');
    const browser = openBrowser();
    for (const name of ['', '  ', 'x'.repeat(81), 'a\u0000b']) {
      const answer = await take(browser, await browser.get(url), name);
      expect([name, answer.status]).toEqual([name, 400]);
      expect(answer.text).toContain('role="alert"');
    }
    const page = await browser.get(url);
    expect(keyIn(await take(browser, page, '<script>alert(1)</script>'))).toMatch(/^pb_/);
    expect((await browser.get(`${contract.url}/login`)).text).not.toContain('<script>');
  });

  test('is over after a week, when it is revoked, and when who gave it is gone or admin no more', async () => {
    const team = await organization();
    const { id, url } = await team.invite('member');
    const of = async (invitation: { url: string }) => (await openBrowser().get(invitation.url)).status;
    expect(await of({ url })).toBe(200);
    expect((await team.ask('DELETE', `/invitations/${id}`)).status).toBe(200);
    expect(await of({ url })).toBe(410);
    expect((await team.ask('DELETE', `/invitations/${id}`)).status).toBe(404);

    const [gone, demoted] = [await team.join('admin'), await team.join('admin')];
    const theirs = [await team.invite('admin', gone.key), await team.invite('admin', demoted.key)];
    expect((await openBrowser().get(theirs[0]?.url as string)).text).toContain('a admin');
    await team.ask('DELETE', `/members/${gone.userId}`);
    await team.ask('PATCH', `/members/${demoted.userId}`, { role: 'member' });
    for (const invitation of theirs) expect(await of(invitation)).toBe(410);
    const made = await team.ask('POST', '/api-keys', { name: 'invites' });
    const invites = made.body as { id: string; key: string };
    const ofKey = await team.invite('member', invites.key);
    await team.ask('DELETE', `/api-keys/${invites.id}`);
    expect(await of(ofKey)).toBe(410);

    const late = await team.invite('member');
    past = 7 * day;
    expect(await of(late)).toBe(410);
    expect((await team.ask('GET', '/invitations')).body).toEqual({ invitations: [] });
    past = 0;
  });

  test('cannot be taken by a form of another site', async () => {
    const { invite } = await organization();
    const { url } = await invite('member');
    const answer = await fetch(url, {
      method: 'POST',
      headers: { origin: 'https://evil.example' },
      body: new URLSearchParams({ csrf: 'x', name: 'Eve' }),
    });
    expect(answer.status).toBe(403);
    const browser = openBrowser();
    const page = await browser.get(url);
    const forged = { ...page, text: page.text.replace(/name="csrf" value="[^"]+"/, 'name="csrf" value="x"') };
    expect((await take(browser, forged, 'Eve')).status).toBe(403);
  });
});

describe('roles', () => {
  test('a member uses what is there, and administers nothing', async () => {
    const team = await organization();
    const { key, ask } = await team.join('member');
    expect((await contract.request('/namespaces', { key })).status).toBe(200);
    expect((await contract.request('/namespaces', { method: 'POST', key })).status).toBe(201);
    expect((await ask('GET', '/members')).status).toBe(200);
    for (const [method, path, json] of [
      ['POST', '/api-keys', { name: 'x' }],
      ['POST', '/invitations', {}],
      ['GET', '/invitations', undefined],
    ] as const) {
      expect([path, (await ask(method, path, json)).status]).toEqual([path, 403]);
    }
    expect((await contract.request('/audit', { key })).status).toBe(403);
    const mint = (json: object) => contract.request('/tokens', { method: 'POST', key, json });
    expect((await mint({})).status).toBe(200);
    expect((await mint({ organizationId: team.id })).status).toBe(403);
  });

  test('a member sees and revokes its own keys, and an admin all', async () => {
    const team = await organization();
    const [ada, bob] = [await team.join('member'), await team.join('member')];
    const listed = async (ask: typeof ada.ask) =>
      ((await ask('GET', '/api-keys')).body as { apiKeys: { id: string; userId: string | null }[] }).apiKeys;
    expect(await listed(ada.ask)).toEqual([expect.objectContaining({ id: ada.keyId, userId: ada.userId })]);
    expect((await listed(team.ask)).map(({ userId }) => userId).sort()).toEqual(
      [null, ada.userId, bob.userId].sort(),
    );
    expect((await ada.ask('DELETE', `/api-keys/${bob.keyId}`)).status).toBe(404);
    expect((await ada.ask('DELETE', `/api-keys/${ada.keyId}`)).status).toBe(200);
    expect((await ada.ask('GET', '/members')).status).toBe(401);
    expect((await team.ask('DELETE', `/api-keys/${bob.keyId}`)).status).toBe(200);
  });

  test('change at once, for keys that were remembered', async () => {
    const team = await organization();
    const { userId, ask } = await team.join('admin');
    expect((await ask('GET', '/invitations')).status).toBe(200);
    expect((await team.ask('PATCH', `/members/${userId}`, { role: 'member' })).status).toBe(200);
    expect((await ask('GET', '/invitations')).status).toBe(403);
    expect((await team.ask('PATCH', `/members/${userId}`, { role: 'admin' })).status).toBe(200);
    expect((await ask('GET', '/invitations')).status).toBe(200);
    expect((await team.ask('PATCH', `/members/${userId}`, { role: 'king' })).body).toMatchObject({
      error: expect.stringContaining('role'),
    });
  });

  test('who is owner is decided by owners; while there is none, by admins', async () => {
    const team = await organization();
    const first = await team.join('member');
    expect((await team.ask('PATCH', `/members/${first.userId}`, { role: 'owner' })).status).toBe(200);
    const second = await team.join('admin');
    for (const answer of [
      await team.ask('PATCH', `/members/${second.userId}`, { role: 'owner' }),
      await second.ask('PATCH', `/members/${first.userId}`, { role: 'member' }),
      await second.ask('DELETE', `/members/${first.userId}`),
      await second.ask('POST', '/invitations', { role: 'owner' }),
    ]) {
      expect([answer.status, answer.text]).toEqual([403, expect.stringContaining('Only an owner')]);
    }
    expect((await first.ask('POST', '/invitations', { role: 'owner' })).status).toBe(201);
    expect((await first.ask('PATCH', `/members/${second.userId}`, { role: 'owner' })).status).toBe(200);
    expect((await second.ask('DELETE', `/members/${first.userId}`)).status).toBe(200);
  });

  test('an organization keeps its last owner, however many leave at once', async () => {
    const team = await organization();
    const owners = [await team.join('owner'), await team.join('owner'), await team.join('owner')];
    const answers = await Promise.all(owners.map(({ ask, userId }) => ask('DELETE', `/members/${userId}`)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 409]);
    const [last] = await team.members();
    const stays = owners.find(({ userId }) => userId === last?.userId);
    expect((await stays?.ask('PATCH', `/members/${last?.userId}`, { role: 'admin' }))?.body).toMatchObject({
      error: expect.stringContaining('no owner left'),
    });
  });

  test('members leave, with their keys, tokens and sessions', async () => {
    const team = await organization();
    const { userId, key, ask } = await team.join('member');
    const { token } = await contract.sdk({ apiKey: key }).tokens.create({});
    const cookie = await contract.pb.store.session({ keyId: null, userId, organizationId: team.id });
    const status = async (headers: Record<string, string>, as: string | null = null) =>
      (await contract.request('/namespaces', { key: as, headers })).status;
    const ownPage = { cookie, 'sec-fetch-site': 'same-origin' };
    expect([await status({}, token), await status(ownPage)]).toEqual([200, 200]);
    const stranger = await team.join('member');
    expect((await stranger.ask('DELETE', `/members/${userId}`)).status).toBe(403);
    expect((await ask('DELETE', `/members/${userId}`)).status).toBe(200);
    expect([await status({}, key), await status({}, token), await status(ownPage)]).toEqual([401, 401, 403]);
    expect((await team.ask('DELETE', `/members/${userId}`)).status).toBe(404);
  });

  test('nobody reaches another organization, or learns of one', async () => {
    const team = await organization();
    const { userId } = await team.join('member');
    const there = (method: string, rest: string, json?: unknown) => team.ask(method, rest, json, other.key);
    for (const answer of [
      await there('GET', '/members'),
      await there('PATCH', `/members/${userId}`, { role: 'admin' }),
      await there('DELETE', `/members/${userId}`),
      await there('POST', '/invitations', {}),
      await contract.request('/organizations/org_none/members', { key: other.key }),
    ]) {
      expect([answer.status, answer.text]).toEqual([403, expect.stringContaining('no admin of that')]);
    }
    const own = `/organizations/${other.organizationId}`;
    const answer = await contract.request(`${own}/members/${userId}`, { method: 'DELETE', key: other.key });
    expect(answer.status).toBe(404);
  });
});

describe('moving a namespace', () => {
  const move = (name: string, organizationId: string, key: string) =>
    contract.request(`/namespaces/${name}`, { method: 'PUT', key, json: { organizationId } });

  test('takes it with its connections to another organization that the mover administers, too', async () => {
    const [from, to] = [await organization(), await organization()];
    const name = `moving-${made++}`;
    const { userId, key } = await from.join('admin');
    await contract.pb.store.db
      .insertInto('members')
      .values({ organization_id: to.id, user_id: userId, role: 'owner', created_at: Date.now() })
      .execute();
    expect((await contract.request(`/namespaces/${name}`, { method: 'PUT', key })).status).toBe(201);
    const connection = { method: 'PUT', json: { transport: 'uplink' } };
    expect((await contract.request(`/connect/${name}/c`, { ...connection, key })).status).toBe(201);
    const { token } = await contract.sdk({ apiKey: key }).tokens.create({});
    const statusWith = async (as: string) =>
      (await contract.request(`/connect/${name}/c`, { key: as })).status;
    expect([await statusWith(token), await statusWith(to.key)]).toEqual([200, 404]);
    const moved = await move(name, to.id, key);
    expect([moved.status, moved.body]).toEqual([201, { name, createdAt: expect.any(String) }]);
    expect([await statusWith(token), await statusWith(key), await statusWith(from.key)]).toEqual([
      404, 404, 404,
    ]);
    expect(await statusWith(to.key)).toBe(200);
    // It is no longer there to be moved.
    expect((await move(name, to.id, key)).status).toBe(404);
  });

  test('is refused to who administers one of the two alone, and to keys of an organization', async () => {
    const [from, to] = [await organization(), await organization()];
    const name = `staying-${made++}`;
    const there = (role: Role, userId: string) =>
      contract.pb.store.db
        .insertInto('members')
        .values({ organization_id: to.id, user_id: userId, role, created_at: Date.now() })
        .execute();
    const [stranger, guest, member] = [
      await from.join('owner'),
      await from.join('owner'),
      await from.join('member'),
    ];
    await there('member', guest.userId);
    await there('owner', member.userId);
    await contract.request(`/namespaces/${name}`, { method: 'PUT', key: from.key });
    for (const key of [stranger.key, guest.key, member.key, from.key]) {
      expect((await move(name, to.id, key)).status).toBe(403);
    }
    const { token } = await contract.sdk({ apiKey: stranger.key }).tokens.create({});
    expect((await move(name, to.id, token)).status).toBe(403);
    expect((await contract.request(`/connect/${name}`, { key: from.key })).status).toBe(200);
  });
});

describe('the audit', () => {
  test('has who invited, who joined, and who was changed and removed', async () => {
    const team = await organization();
    const admin = await team.join('admin');
    const { url } = await team.invite('member', admin.key);
    const browser = openBrowser();
    await take(browser, await browser.get(url), 'Ada');
    const ada = (await team.members()).find(({ name }) => name === 'Ada')?.userId;
    await admin.ask('PATCH', `/members/${ada}`, { role: 'admin' });
    await admin.ask('DELETE', `/members/${ada}`);
    await until(async () => {
      const { body } = await contract.request('/audit', { key: team.key });
      const { entries } = body as { entries: { method: string; principal: { userId: string } }[] };
      const by = Object.fromEntries(entries.map(({ method, principal }) => [method, principal.userId]));
      expect(by).toMatchObject({
        'invitations/create': admin.userId,
        'invitations/take': ada,
        'members/change': admin.userId,
        'members/remove': admin.userId,
      });
      const own = await contract.request(`/audit?userId=${ada}`, { key: team.key });
      expect((own.body as { entries: unknown[] }).entries).toHaveLength(1);
      return true;
    });
  });
});

describe('the session of a signed-in browser', () => {
  const ownPage = (cookie: string) => ({ key: null, headers: { cookie, 'sec-fetch-site': 'same-origin' } });

  test('mints service tokens that end with it', async () => {
    const team = await organization();
    const { userId } = await team.join('member');
    const cookie = await contract.pb.store.session({ keyId: null, userId, organizationId: team.id });
    const minted = await contract.request('/tokens', {
      method: 'POST',
      json: { policy: [{ resources: 'namespaces', operations: 'read', ttl: '24h' }] },
      key: null,
      headers: { cookie, 'sec-fetch-site': 'same-origin' },
    });
    const { token, expiresAt } = minted.body as { token: string; expiresAt: string };
    const session = await contract.pb.store.db
      .selectFrom('browser_sessions')
      .select(['expires_at', 'id'])
      .where('user_id', '=', userId)
      .executeTakeFirstOrThrow();
    expect(Date.parse(expiresAt)).toBe(Math.floor(session.expires_at / 1_000) * 1_000);
    const status = async () => (await contract.request('/namespaces', { key: token })).status;
    expect(await status()).toBe(200);
    const browser = openBrowser();
    browser.setCookie(contract.url, cookie);
    await browser.submit(await browser.get(`${contract.url}/login`), {}, 'Sign out');
    expect([await status(), (await contract.request('/namespaces', ownPage(cookie))).status]).toEqual([
      401, 401,
    ]);
  });

  test('ends with the key that it was opened with, and its tokens at once, though they were remembered', async () => {
    const team = await organization();
    const { keyId, userId, key } = await team.join('member');
    const browser = openBrowser();
    await browser.submit(await browser.get(`${contract.url}/login`), { apiKey: key });
    const cookie = await contract.pb.store.session({ keyId, userId, organizationId: team.id });
    const minted = await contract.request('/tokens', { method: 'POST', json: {}, ...ownPage(cookie) });
    const { token } = minted.body as { token: string };
    const status = async () => (await contract.request('/namespaces', { key: token })).status;
    expect(await status()).toBe(200);
    expect((await team.ask('DELETE', `/api-keys/${keyId}`)).status).toBe(200);
    expect(await status()).toBe(401);
    expect((await contract.request('/namespaces', ownPage(cookie))).status).toBe(401);
    expect((await browser.get(`${contract.url}/login`)).text).toContain('Sign in to Patchbay');
  });

  test('has tokens for one organization: they end when it goes to another one', async () => {
    const [first, second] = [await organization(), await organization()];
    const { userId } = await first.join('owner');
    await contract.pb.store.db
      .insertInto('members')
      .values({ organization_id: second.id, user_id: userId, role: 'member', created_at: Date.now() })
      .execute();
    const cookie = await contract.pb.store.session({ keyId: null, userId, organizationId: first.id });
    expect((await contract.request('/organizations', ownPage(cookie))).body).toEqual({
      organizations: expect.arrayContaining([
        { id: first.id, name: 'other', role: 'owner' },
        { id: second.id, name: 'other', role: 'member' },
      ]),
    });
    const minted = await contract.request('/tokens', { method: 'POST', json: {}, ...ownPage(cookie) });
    const { token } = minted.body as { token: string };
    expect((await contract.request('/namespaces', { key: token })).status).toBe(200);
    const browser = openBrowser();
    browser.setCookie(contract.url, cookie);
    const page = await browser.get(`${contract.url}/login`);
    await browser.submit(page, { organization: second.id }, 'Switch');
    expect((await contract.request('/namespaces', { key: token })).status).toBe(401);
    expect((await contract.request(`${second.path}/invitations`, ownPage(cookie))).status).toBe(403);
    expect((await contract.request(`${first.path}/invitations`, ownPage(cookie))).status).toBe(403);
  });

  test('counts on pages of ours alone', async () => {
    const { id } = await organization();
    const { userId } = await contract.pb.store.member(id, 'owner');
    const cookie = await contract.pb.store.session({ keyId: null, userId, organizationId: id });
    for (const headers of [
      { cookie },
      { cookie, 'sec-fetch-site': 'same-site' },
      { cookie, 'sec-fetch-site': 'cross-site' },
      { cookie, 'sec-fetch-site': 'none' },
    ]) {
      expect((await contract.request('/namespaces', { key: null, headers })).status).toBe(401);
    }
    const both = { cookie, 'sec-fetch-site': 'same-origin' };
    expect((await contract.request('/namespaces', { key: 'pb_wrong', headers: both })).status).toBe(401);
  });
});
