import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Browser, openBrowser, type Page } from '../fixtures/oauth/browser.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';

const cli = fileURLToPath(new URL('../../node_modules/.bin/smithery', import.meta.url));
const minuteMs = 60_000;

let pb: TestPatchbay;
let past = 0;
beforeAll(async () => {
  pb = await startPatchbay({
    clock: {
      now: () => Date.now() + past,
      elapsed: () => performance.now(),
      after: (ms, run) => {
        const timer = setTimeout(run, ms);
        return () => clearTimeout(timer);
      },
    },
  });
});
afterAll(() => pb?.stop());

interface Begun {
  sessionId: string;
  authUrl: string;
}

async function begin(json: unknown = undefined): Promise<Begun> {
  const answer = await pb.request('/api/auth/cli/session', {
    method: 'POST',
    key: null,
    ...(json === undefined ? {} : { json }),
    headers: { 'user-agent': 'smithery-cli/1.1.1' },
  });
  expect(answer.status).toBe(200);
  return (await answer.json()) as Begun;
}

async function poll(sessionId: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const answer = await pb.request(`/api/auth/cli/poll/${sessionId}`, { key: null });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

/** Opens a page of ours and signs in where that is asked first. */
async function openSignedIn(browser: Browser, url: string, apiKey = pb.key): Promise<Page> {
  const first = await browser.get(url);
  if (first.status !== 303) return first;
  const form = await browser.follow(first);
  expect(form.text).toContain('Sign in to Patchbay');
  return browser.follow(await browser.submit(form, { apiKey }));
}

const allow = (browser: Browser, page: Page) => browser.submit(page, {}, 'Log it in');
const namesOfKeys = async () => {
  const rows = await pb.store.db.selectFrom('api_keys').select(['name']).execute();
  return rows.map(({ name }) => name);
};

describe('the login of a command line', () => {
  test('ends with an API key of its own, handed out once, when the person allows it', async () => {
    const { sessionId, authUrl } = await begin();
    expect(new URL(authUrl).origin).toBe(pb.url);
    expect(authUrl).not.toContain(sessionId.split('.')[0]);
    expect(await poll(sessionId)).toEqual({ status: 200, body: { status: 'pending' } });

    const browser = openBrowser();
    const page = await openSignedIn(browser, authUrl);
    expect(page.text).toContain('Log the command line in?');
    expect(page.text).toContain('smithery-cli/1.1.1');
    expect(await poll(sessionId)).toMatchObject({ body: { status: 'pending' } });
    const done = await allow(browser, page);
    expect(done.status).toBe(200);
    expect(done.text).toContain('The command line is logged in');

    const { body } = await poll(sessionId);
    expect(body).toEqual({
      status: 'success',
      apiKey: expect.stringMatching(/^pb_/),
      organization: {
        id: expect.stringMatching(/^org_/),
        name: 'default',
        slug: 'default',
        namespace: 'default',
      },
      namespace: 'default',
    });
    expect(body.apiKey).not.toBe(pb.key);
    expect((await pb.request('/servers?pageSize=1', { key: body.apiKey as string })).status).toBe(200);
    expect((await namesOfKeys()).filter((name) => name.startsWith('command line, '))).toHaveLength(1);
    expect(await poll(sessionId)).toEqual({
      status: 410,
      body: { error: 'login_expired', message: expect.any(String) },
    });
    // The link is of no more use either, and the key is in no log line and no row.
    expect((await browser.get(authUrl)).status).toBe(200);
    expect((await allow(browser, page)).status).toBe(410);
    const sentinels = [body.apiKey as string, sessionId.split('.')[0] as string];
    const rows = JSON.stringify([
      await pb.store.db.selectFrom('api_keys').selectAll().execute(),
      await pb.store.db.selectFrom('cli_logins').selectAll().execute(),
      await pb.store.db.selectFrom('browser_sessions').selectAll().execute(),
    ]);
    for (const sentinel of sentinels) {
      expect(pb.logs.join('')).not.toContain(sentinel);
      expect(rows).not.toContain(sentinel);
    }
  });

  test('hands one key to many polls at once', async () => {
    const { sessionId, authUrl } = await begin();
    const browser = openBrowser();
    await allow(browser, await openSignedIn(browser, authUrl));
    const before = (await namesOfKeys()).length;
    const polls = await Promise.all(Array.from({ length: 8 }, () => poll(sessionId)));
    expect(polls.filter(({ status }) => status === 200)).toHaveLength(1);
    expect((await namesOfKeys()).length).toBe(before + 1);
  });

  test('ends with nothing when the person declines, whoever tries again', async () => {
    const { sessionId, authUrl } = await begin();
    const browser = openBrowser();
    const page = await openSignedIn(browser, authUrl);
    expect((await browser.submit(page, {}, 'Decline')).text).toContain('The command line gets nothing');
    expect(await poll(sessionId)).toEqual({
      status: 200,
      body: { status: 'error', message: 'The login was declined in the browser.' },
    });
    expect((await allow(browser, page)).status).toBe(410);
    expect(await poll(sessionId)).toMatchObject({ body: { status: 'error' } });
  });

  test('waits ten minutes', async () => {
    const { sessionId, authUrl } = await begin();
    const browser = openBrowser();
    const page = await openSignedIn(browser, authUrl);
    past = 9 * minuteMs;
    expect(await poll(sessionId)).toMatchObject({ body: { status: 'pending' } });
    expect((await browser.get(authUrl)).text).toContain('9 minutes ago');
    past = 10 * minuteMs;
    expect((await poll(sessionId)).status).toBe(410);
    expect((await browser.get(authUrl)).status).toBe(410);
    expect((await allow(browser, page)).status).toBe(410);
    past = 0;
  });

  test('takes no link and no secret that is not ours, or was changed', async () => {
    const { sessionId, authUrl } = await begin();
    const other = await begin();
    const [secret, expiry, mac] = sessionId.split('.') as [string, string, string];
    const [otherSecret] = other.sessionId.split('.');
    for (const wrong of [
      'x',
      `${secret}.${expiry}`,
      `${secret}.zzzzzzzz.${mac}`,
      `${otherSecret}.${expiry}.${mac}`,
      `${sessionId}x`,
    ]) {
      expect([wrong, (await poll(wrong)).status]).toEqual([wrong, 404]);
    }
    const request = new URL(authUrl).searchParams.get('request') as string;
    const asked = JSON.parse(Buffer.from(request.split('.')[0] as string, 'base64url').toString());
    const forged = Buffer.from(JSON.stringify({ ...asked, expiresAt: asked.expiresAt + 1 })).toString(
      'base64url',
    );
    for (const wrong of ['', 'x', `${forged}.${request.split('.')[1]}`, sessionId]) {
      const page = await openBrowser().get(`${pb.url}/login/cli?${new URLSearchParams({ request: wrong })}`);
      expect([wrong, page.status]).toEqual([wrong, 404]);
    }
    // What the page's address says is of no use to poll with.
    expect((await poll(request)).status).toBe(404);
  });

  test('is for the organization that the command line asks for, and no other', async () => {
    const { key, organizationId } = await pb.store.otherOrganization('their-space');
    const { sessionId, authUrl } = await begin({ organizationId });
    const stranger = openBrowser();
    const refused = await openSignedIn(stranger, authUrl);
    expect(refused.status).toBe(403);
    expect(refused.text).toContain('Another organization is asked for');
    const member = openBrowser();
    await allow(member, await openSignedIn(member, `${authUrl}&organization_id=${organizationId}`, key));
    const choose = (id: string) =>
      pb.request(`/api/auth/cli/session/${sessionId}/organization`, {
        method: 'POST',
        key: null,
        json: { organizationId: id },
      });
    expect((await choose('org_elsewhere')).status).toBe(403);
    expect((await choose(organizationId)).status).toBe(200);
    const { body } = await poll(sessionId);
    expect(body).toMatchObject({
      status: 'success',
      organization: { id: organizationId },
      namespace: 'their-space',
    });
    const own = await pb.request('/organizations', { key: body.apiKey as string });
    expect(await own.json()).toMatchObject({ organizations: [{ id: organizationId }] });
  });

  test('cannot be allowed by another site, or by a form of another browser', async () => {
    const { sessionId, authUrl } = await begin();
    const browser = openBrowser();
    const page = await openSignedIn(browser, authUrl);
    const csrf = /name="csrf" value="([^"]+)"/.exec((await openSignedIn(openBrowser(), authUrl)).text)?.[1];
    const evil = {
      ...page,
      text: page.text.replace(/name="csrf" value="[^"]+"/, `name="csrf" value="${csrf}"`),
    };
    expect((await allow(browser, evil)).status).toBe(403);
    const crossSite = await fetch(authUrl, {
      method: 'POST',
      headers: { origin: 'https://evil.example' },
      body: new URLSearchParams({ csrf: 'x', decision: 'allow' }),
    });
    expect(crossSite.status).toBe(403);
    expect(await poll(sessionId)).toMatchObject({ body: { status: 'pending' } });
  });

  test('is in the audit, with the key of the person', async () => {
    const { authUrl } = await begin();
    const browser = openBrowser();
    await allow(browser, await openSignedIn(browser, authUrl));
    await until(async () => {
      const { entries } = (await (await pb.request('/audit?limit=5')).json()) as {
        entries: { method: string; outcome: string; principal: { kind: string; keyId: string } }[];
      };
      expect(entries.map(({ method }) => method)).toEqual(
        expect.arrayContaining(['cli-login/allow', 'sign-in/open']),
      );
      const entry = entries.find(({ method }) => method === 'cli-login/allow');
      expect(entry).toMatchObject({ outcome: 'ok', principal: { kind: 'session' } });
      expect(entry?.principal.keyId).toMatch(/^key_/);
      return true;
    });
  });

  test('works for the vendor’s command line, which then uses what it got', { timeout: 30_000 }, async () => {
    const env = {
      PATH: process.env.PATH,
      HOME: pb.dataDir,
      SMITHERY_CONFIG_PATH: pb.dataDir,
      SMITHERY_URL: pb.url,
      SMITHERY_BASE_URL: pb.url,
      SMITHERY_CONNECT_BASE_URL: pb.url,
    };
    const run = (...args: string[]) => {
      const child = spawn(cli, args, { env, cwd: pb.dataDir, stdio: ['ignore', 'pipe', 'pipe'] });
      const output = { text: '' };
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (chunk) => {
          output.text += chunk;
        });
      }
      const code = new Promise<number | null>((resolve) => child.once('close', resolve));
      return { output, code };
    };
    const login = run('auth', 'login');
    const authUrl = await until(() => /"auth_url":\s*"([^"]+)"/.exec(login.output.text)?.[1]);
    const browser = openBrowser();
    await allow(browser, await openSignedIn(browser, authUrl));
    expect([await login.code, login.output.text]).toEqual([0, expect.any(String)]);
    const list = run('namespace', 'list');
    expect([await list.code, list.output.text]).toEqual([0, expect.stringContaining('default')]);
  });
});

describe('a browser', () => {
  const isSignedIn = async (browser: Browser) =>
    (await browser.get(`${pb.url}/login`)).text.includes('You are signed in');

  test('is signed in by an API key, until it signs out', async () => {
    const browser = openBrowser();
    const form = await browser.get(`${pb.url}/login`);
    const wrong = await browser.submit(form, { apiKey: 'pb_wrong' });
    expect(wrong.status).toBe(401);
    expect(wrong.text).toContain('This is no API key of this server');
    expect(await isSignedIn(browser)).toBe(false);
    const answer = await browser.submit(wrong, { apiKey: ` ${pb.key} ` });
    const [cookie] = answer.headers.getSetCookie().filter((one) => one.startsWith('patchbay-session='));
    expect(cookie).toMatch(/; HttpOnly;.*SameSite=Lax/);
    expect(cookie).not.toContain(pb.key);
    const page = await browser.follow(answer);
    expect(page.text).toContain('You are signed in');
    await browser.follow(await browser.submit(page, {}, 'Sign out'));
    expect(await isSignedIn(browser)).toBe(false);
  });

  test('is not signed in by a service token', async () => {
    const { token } = await pb.sdk().tokens.create({});
    const browser = openBrowser();
    const answer = await browser.submit(await browser.get(`${pb.url}/login`), { apiKey: token });
    expect(answer.status).toBe(401);
  });

  test('is signed out by the revocation of its key, and after twelve hours', async () => {
    const [organization] = (
      (await (await pb.request('/organizations')).json()) as { organizations: { id: string }[] }
    ).organizations;
    const keys = `/organizations/${organization?.id}/api-keys`;
    const made = await pb.request(keys, { method: 'POST', json: { name: 'to sign in with' } });
    const { id, key } = (await made.json()) as { id: string; key: string };
    const [one, other] = [openBrowser(), openBrowser()];
    for (const [browser, apiKey] of [
      [one, key],
      [other, pb.key],
    ] as const) {
      await browser.submit(await browser.get(`${pb.url}/login`), { apiKey });
      expect(await isSignedIn(browser)).toBe(true);
    }
    await pb.request(`${keys}/${id}`, { method: 'DELETE' });
    expect([await isSignedIn(one), await isSignedIn(other)]).toEqual([false, true]);
    past = 12 * 60 * minuteMs;
    expect(await isSignedIn(other)).toBe(false);
    past = 0;
  });

  test('is sent on to pages of ours alone', async () => {
    for (const next of ['https://evil.example/', '//evil.example', '/\\evil.example', '/docs', 'login']) {
      const browser = openBrowser();
      const form = await browser.get(`${pb.url}/login?${new URLSearchParams({ next })}`);
      const answer = await browser.submit(form, { apiKey: pb.key });
      expect([next, browser.next(answer)]).toEqual([next, `${pb.url}/login`]);
    }
  });
});
