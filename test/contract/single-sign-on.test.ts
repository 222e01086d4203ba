import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/platform/clock.ts';
import {
  type AuthorizationServer,
  startAuthorizationServer,
} from '../fixtures/oauth/authorization-server.ts';
import { type Browser, openBrowser, type Page } from '../fixtures/oauth/browser.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { freePort } from '../fixtures/real-servers.ts';

const minute = 60_000;
const profile = { name: 'Ada Lovelace', email: 'ada@example.com' };
const secret = 'the-secret-of-the-client-of-single-sign-on';

let provider: AuthorizationServer;
let pb: TestPatchbay;
let past = 0;
let organizationId: string;

beforeAll(async () => {
  const port = await freePort();
  provider = await startAuthorizationServer({
    profile,
    scopes: [],
    clients: [
      {
        client_id: 'patchbay',
        client_secret: secret,
        redirect_uris: [`http://127.0.0.1:${port}/login/sso/callback`],
      },
    ],
  });
  pb = await startPatchbay({
    env: {
      PATCHBAY_PORT: String(port),
      PATCHBAY_OIDC_ISSUER: provider.issuer,
      PATCHBAY_OIDC_CLIENT_ID: 'patchbay',
      PATCHBAY_OIDC_CLIENT_SECRET: secret,
    },
    clock: { ...systemClock, now: () => Date.now() + past },
  });
  const { organizations } = (await (await pb.request('/organizations')).json()) as {
    organizations: { id: string }[];
  };
  organizationId = organizations[0]?.id as string;
});
afterAll(async () => {
  await pb?.stop();
  await provider?.close();
});
beforeEach(async () => {
  past = 0;
  Object.assign(profile, { name: 'Ada Lovelace', email: 'ada@example.com' });
  await pb.store.db.deleteFrom('users').execute();
});

/** To the provider's page, without pressing anything there. */
async function toProvider(browser: Browser, start = `${pb.url}/login`): Promise<Page> {
  let page = await browser.get(start);
  while (browser.next(page)) page = await browser.follow(page);
  expect(page.url).toContain(provider.issuer);
  return page;
}

/** Back to us with whatever the person did there: the redirect to the callback is not followed yet. */
async function decided(browser: Browser, page: Page, button = 'Allow'): Promise<string> {
  let at = await browser.submit(page, {}, button);
  for (;;) {
    const next = browser.next(at) as string;
    if (next.startsWith(pb.url)) return next;
    at = await browser.follow(at);
  }
}

async function signIn(browser: Browser, start?: string): Promise<Page> {
  let page = await browser.get(await decided(browser, await toProvider(browser, start)));
  while (page.status === 303) page = await browser.follow(page);
  return page;
}

const invite = async (role: string) => {
  const path = `/organizations/${organizationId}/invitations`;
  const answer = await pb.request(path, { method: 'POST', json: { role } });
  return ((await answer.json()) as { url: string }).url;
};
const members = async () => {
  const answer = await pb.request(`/organizations/${organizationId}/members`);
  return ((await answer.json()) as { members: object[] }).members;
};
const users = () => pb.store.db.selectFrom('users').selectAll().execute();
const isSignedIn = async (browser: Browser) =>
  (await browser.get(`${pb.url}/login`)).text.includes('You are signed in');

describe('single sign-on at a real provider', () => {
  test('signs a person in, who is member of nothing yet', async () => {
    const browser = openBrowser();
    const page = await signIn(browser);
    expect(page.text).toContain('<strong dir="auto">Ada Lovelace</strong>');
    expect(page.text).toContain('member of no organization');
    expect(await users()).toEqual([
      expect.objectContaining({ ...profile, issuer: provider.issuer, subject: 'person-1' }),
    ]);
    expect(provider.authorizations.at(-1)).toMatchObject({
      scope: 'openid profile email',
      code_challenge_method: 'S256',
      nonce: expect.stringMatching(/^[\w-]{43}$/),
    });
    expect(pb.logs.join('')).not.toContain(secret);
  });

  test('is how an invitation is taken, and the person is the same at the next sign-in, whatever the name', async () => {
    const browser = openBrowser();
    const url = await invite('admin');
    const offered = await browser.get(url);
    expect(offered.text).not.toContain('Your name');
    // Nobody gets a key instead.
    const [csrf] = /(?<=name="csrf" value=")[^"]+/.exec(offered.text) ?? [];
    const forced = await browser.submit(
      {
        ...offered,
        text: `<form method="post"><input name="csrf" value="${csrf}"><input name="name"><button>Join</button></form>`,
      },
      { name: 'Eve' },
    );
    expect(forced.status).toBe(400);
    expect(await members()).toEqual([]);

    const back = await signIn(browser, url);
    expect(back.text).toContain('Ada Lovelace');
    const joined = await browser.follow(await browser.submit(back, {}, 'Join'));
    expect(joined.text).toContain('(admin)');
    const [member] = await members();
    expect(member).toMatchObject({ ...profile, role: 'admin' });

    Object.assign(profile, { name: 'Ada King', email: 'countess@example.com' });
    expect((await signIn(openBrowser())).text).toContain('(admin)');
    expect(await members()).toEqual([{ ...member, ...profile }]);
    expect(await users()).toHaveLength(1);
  });

  test('lets a member log a command line in, which acts for that member', async () => {
    const browser = openBrowser();
    const back = await signIn(browser, await invite('member'));
    await browser.submit(back, {}, 'Join');
    const begun = await pb.request('/api/auth/cli/session', { method: 'POST', key: null });
    const { sessionId, authUrl } = (await begun.json()) as { sessionId: string; authUrl: string };
    const page = await browser.get(authUrl);
    expect(page.text).toContain('all that you may do in the organization');
    await browser.submit(page, {}, 'Log it in');
    const poll = await pb.request(`/api/auth/cli/poll/${sessionId}`, { key: null });
    const { apiKey } = (await poll.json()) as { apiKey: string };
    const own = await pb.request('/organizations', { key: apiKey });
    expect(await own.json()).toMatchObject({ organizations: [{ id: organizationId, role: 'member' }] });
    const refused = await pb.request(`/organizations/${organizationId}/invitations`, { key: apiKey });
    expect(refused.status).toBe(403);
  });

  test('tells when the person declines, and who they are goes nowhere', async () => {
    const browser = openBrowser();
    const page = await browser.get(await decided(browser, await toProvider(browser), 'Decline'));
    expect([page.status, page.text]).toEqual([403, expect.stringContaining('The person declined')]);
    expect(await isSignedIn(browser)).toBe(false);
    expect(await users()).toEqual([]);
  });

  test('cannot be finished in another browser, later than half an hour, with another state or twice', async () => {
    const [browser, stranger] = [openBrowser(), openBrowser()];
    const callback = await decided(browser, await toProvider(browser));
    await stranger.get(`${pb.url}/login`);
    for (const who of [stranger, openBrowser()]) {
      const page = await who.get(callback);
      expect([page.status, page.text]).toEqual([403, expect.stringContaining('not begun in this browser')]);
      expect(await isSignedIn(who)).toBe(false);
    }
    const url = new URL(callback);
    const [random, expiry, next, mac] = (url.searchParams.get('state') as string).split('.');
    const elsewhere = Buffer.from('https://evil.example').toString('base64url');
    for (const state of [
      '',
      'x',
      `${random}.zzzzzzzz.${next}.${mac}`,
      `${random}.${expiry}.${elsewhere}.${mac}`,
    ]) {
      url.searchParams.set('state', state);
      expect([state, (await browser.get(url.href)).status]).toEqual([state, 403]);
    }
    past = 30 * minute;
    expect((await browser.get(callback)).text).toContain('begun too long ago');
    past = 0;
    expect((await browser.get(callback)).status).toBe(303);
    // The provider gives a code one use.
    const again = openBrowser();
    expect((await browser.get(callback)).status).toBe(502);
    expect(await isSignedIn(again)).toBe(false);
  });

  test('takes no answer in the name of another provider (RFC 9207)', async () => {
    const browser = openBrowser();
    const url = new URL(await decided(browser, await toProvider(browser)));
    url.searchParams.set('iss', 'https://evil.example');
    expect((await browser.get(url.href)).status).toBe(502);
    expect(await isSignedIn(browser)).toBe(false);
  });

  test('shows names as text, and in one line', async () => {
    profile.name = '<b>Ada</b>\u0000\n\u202eevil';
    const page = await signIn(openBrowser());
    expect(page.text).toContain('&#60;b&#62;Ada&#60;/b&#62;');
    expect(page.text).not.toMatch(/<b>|\u202e/);
  });

  test('goes on to pages of ours alone', async () => {
    for (const next of ['https://evil.example/', '//evil.example', '/docs']) {
      const browser = openBrowser();
      const start = `${pb.url}/login/sso?${new URLSearchParams({ next })}`;
      const page = await signIn(browser, start);
      expect(page.url).toBe(`${pb.url}/login`);
    }
  });

  test('stands beside API keys', async () => {
    const browser = openBrowser();
    const form = await browser.get(`${pb.url}/login`);
    expect(form.text).toContain('Single sign-on');
    await browser.submit(form, { apiKey: pb.key }, 'Sign in');
    expect(await isSignedIn(browser)).toBe(true);
  });
});

describe('a provider that is away', () => {
  test('is told in a page, and asked again at the next try', async () => {
    const port = await freePort();
    const other = await startPatchbay({
      env: { PATCHBAY_OIDC_ISSUER: `http://127.0.0.1:${port}`, PATCHBAY_OIDC_CLIENT_ID: 'patchbay' },
    });
    try {
      const page = await openBrowser().get(`${other.url}/login/sso`);
      expect([page.status, page.text]).toEqual([
        502,
        expect.stringContaining('Single sign-on does not work'),
      ]);
      expect(page.text).not.toContain('ECONNREFUSED');
      expect(other.logs.join('')).toContain('single sign-on failed');
      const server = await startAuthorizationServer({ port });
      try {
        expect((await openBrowser().get(`${other.url}/login/sso`)).status).toBe(303);
      } finally {
        await server.close();
      }
    } finally {
      await other.stop();
    }
  });
});
