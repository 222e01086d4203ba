import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { chromiumPath, keepPicture, openChromium } from '../fixtures/chromium.ts';
import { echoCall, mcp, put, stored } from '../fixtures/fault.ts';
import { startFaultyAuthorizationServer } from '../fixtures/oauth/faulty-authorization-server.ts';
import { type Stage, setTheStage } from './stage.ts';
import { fillIn, logIn, press, titled } from './steps.ts';

const minuteMs = 60_000;

describe.skipIf(!chromiumPath)('setup links and logins in a browser', () => {
  let browser: Browser;
  let stage: Stage;
  beforeAll(async () => {
    browser = await openChromium();
  });
  afterAll(async () => {
    await browser?.close();
  });
  beforeEach(async () => {
    stage = await setTheStage(browser);
  });
  afterEach(async () => {
    await stage?.end();
  });

  const logins = async () => (await stage.pb.store.db.selectFrom('logins').selectAll().execute()).length;

  describe('a link', () => {
    it('works for an hour, and then says what to do', async () => {
      const { page } = await stage.visitor();
      const setupUrl = await stage.connect('c', stage.guarded);
      stage.wait(59 * minuteMs);
      expect((await page.goto(setupUrl))?.status()).toBe(200);
      stage.wait(2 * minuteMs);
      await press(page, /^Continue to/);
      await titled(page, 'This link has expired');
      expect((await page.goto(setupUrl))?.status()).toBe(410);
      expect(await page.locator('main').innerText()).toContain('it gets a new link');
      await keepPicture(page, 'link-expired');
      expect(await logins()).toBe(0);
    });

    it('is of no use after the login, in any browser', async () => {
      const { page } = await stage.visitor();
      const setupUrl = await stage.connect('c', stage.guarded);
      await page.goto(setupUrl);
      await logIn(page);
      await titled(page, 'All set');

      const other = (await stage.visitor()).page;
      expect((await other.goto(setupUrl))?.status()).toBe(410);
      await titled(other, 'All set');
      expect(await other.getByRole('button').count()).toBe(0);
      await keepPicture(other, 'link-used');
    });

    it('is of no use after the values were entered, even the wrong ones', async () => {
      const { page } = await stage.visitor();
      const setupUrl = await stage.connect('c', stage.asking);
      await page.goto(setupUrl);
      await fillIn(page, { key: 'wrong-key', region: 'eu' });
      await press(page, 'Save');
      await page.getByRole('alert').waitFor();

      const other = (await stage.visitor()).page;
      expect((await other.goto(setupUrl))?.status()).toBe(410);
      await titled(other, 'This link was used already');
    });

    it('starts nothing by being looked at', async () => {
      const provider = await startFaultyAuthorizationServer();
      try {
        const setupUrl = await stage.connect('c', { url: provider.mcpUrl });
        const before = provider.requests.length;
        const { page } = await stage.visitor();
        await page.goto(setupUrl);
        await page.reload();
        for (const method of ['GET', 'HEAD']) {
          for (const agent of ['Slackbot-LinkExpanding 1.0', 'facebookexternalhit/1.1']) {
            const headers = { 'user-agent': agent, 'sec-purpose': 'prefetch;prerender' };
            expect((await fetch(setupUrl, { method, headers })).status).toBe(200);
          }
        }
        expect(await logins()).toBe(0);
        expect(provider.requests.length).toBe(before);
        // The link is as good as it was.
        await press(page, /^Continue to/);
        await titled(page, 'All set');
        expect(provider.requests.length).toBeGreaterThan(before);
      } finally {
        await provider.close();
      }
    });

    it('is told to nobody else, and neither is the browser’s cookie', async () => {
      const provider = await startFaultyAuthorizationServer();
      try {
        const setupUrl = await stage.connect('c', { url: provider.mcpUrl });
        const ticket = new URL(setupUrl).searchParams.get('ticket') as string;
        const { page, requests, context } = await stage.visitor();
        await page.goto(setupUrl);
        await press(page, /^Continue to/);
        await titled(page, 'All set');

        const visits = provider.requestsTo('authorize');
        expect(visits).toHaveLength(1);
        expect(visits[0]?.headers.referer).toBeUndefined();
        expect(visits[0]?.headers.cookie).toBeUndefined();
        const received = provider.requests.map(({ url, headers, body }) => [url.href, headers, body]);
        expect(JSON.stringify(received)).not.toContain(ticket);

        const hosts = (await requests()).map(({ url }) => new URL(url).origin);
        expect(new Set(hosts)).toEqual(new Set([stage.pb.url, provider.issuer]));
        expect(await context.cookies()).toEqual([
          expect.objectContaining({
            name: 'patchbay-setup',
            domain: 'localhost',
            path: '/',
            httpOnly: true,
            sameSite: 'Lax',
          }),
        ]);
      } finally {
        await provider.close();
      }
    });
  });

  describe('a person who', () => {
    it('goes back from the provider can go on again', async () => {
      const { page } = await stage.visitor();
      const setupUrl = await stage.connect('c', stage.guarded);
      await page.goto(setupUrl);
      await press(page, /^Continue to/);
      await titled(page, 'Allow access?');
      // The page between the two leaves no trace in the history: nobody is asked to send a form again.
      await page.goBack();
      expect(page.url()).toBe(setupUrl);
      await logIn(page);
      await titled(page, 'All set');
    });

    it('goes back after the login is told that all is done', async () => {
      const { page } = await stage.visitor();
      const setupUrl = await stage.connect('c', stage.guarded);
      await page.goto(setupUrl);
      await logIn(page);
      await titled(page, 'All set');
      // Past the provider's page, which is over too.
      await page.evaluate('history.go(-2)');
      await page.waitForURL(setupUrl);
      await titled(page, 'All set');
      expect((await mcp(stage.pb, 'c', echoCall(1, { text: 'hi' }))).status).toBe(200);
    });

    it('presses the button twice logs in once', async () => {
      const { page } = await stage.visitor();
      await page.goto(await stage.connect('c', stage.guarded));
      await page.getByRole('button').dblclick({ noWaitAfter: true });
      await titled(page, 'Allow access?');
      await press(page, 'Allow');
      await titled(page, 'All set');
      expect(stage.provider.tokenRequests).toHaveLength(1);
      // Both presses may come before we are registered; the registration that is kept serves all logins after.
      expect(stage.provider.registrations.length).toBeLessThanOrEqual(2);
    });

    it('presses “Save” twice ends with the values saved', async () => {
      const { page } = await stage.visitor();
      await page.goto(await stage.connect('c', stage.asking));
      await fillIn(page);
      await page.getByRole('button').dblclick({ noWaitAfter: true });
      await titled(page, 'All set');
      expect(await stored(stage.pb, 'c')).toMatchObject({ state: 'connected' });
    });

    it('loads the end of the login again does not log in again', async () => {
      const { page } = await stage.visitor();
      await page.goto(await stage.connect('c', stage.guarded));
      await logIn(page);
      await titled(page, 'All set');
      expect((await page.reload())?.status()).toBe(410);
      await titled(page, 'This login is over');
      await keepPicture(page, 'callback-reloaded');
      expect(stage.provider.tokenRequests).toHaveLength(1);
      expect(await stored(stage.pb, 'c')).toMatchObject({ state: 'connected' });
    });

    it('has two tabs open finishes in one, and the other one says so', async () => {
      const { context, page: first } = await stage.visitor();
      const setupUrl = await stage.connect('c', stage.guarded);
      await first.goto(setupUrl);
      const second = await context.newPage();
      await second.goto(setupUrl);
      await press(first, /^Continue to/);
      await press(second, /^Continue to/);
      await titled(second, 'Allow access?');
      await press(first, 'Allow');
      await titled(first, 'All set');
      const tokens = stage.provider.tokenRequests.length;
      await press(second, 'Allow');
      await titled(second, 'All set');
      expect(stage.provider.tokenRequests).toHaveLength(tokens);
      expect((await mcp(stage.pb, 'c', echoCall(1, { text: 'hi' }))).status).toBe(200);
    });

    it('comes from an application that deleted the connection meanwhile is told', async () => {
      const { page } = await stage.visitor();
      await page.goto(await stage.connect('c', stage.guarded));
      expect((await stage.pb.request('/connect/default/c', { method: 'DELETE' })).status).toBe(200);
      await press(page, /^Continue to/);
      await titled(page, 'This link does not work');
      await keepPicture(page, 'link-without-connection');
    });

    it('blocks cookies is told what to do', async () => {
      const { page, context } = await stage.visitor();
      await page.goto(await stage.connect('c', stage.guarded));
      await context.clearCookies();
      await press(page, /^Continue to/);
      await titled(page, 'This form did not come from its page');
      await keepPicture(page, 'cookie-lost');
      expect(await logins()).toBe(0);
      await page.getByRole('link', { name: 'Open the page again' }).click();
      await logIn(page);
      await titled(page, 'All set');
    });
  });

  it('lets nobody finish in their browser what an attacker began in another', async () => {
    const attacker = await stage.visitor();
    await attacker.page.goto(await stage.connect('c', stage.guarded));
    await press(attacker.page, /^Continue to/);
    await titled(attacker.page, 'Allow access?');
    const begun = (await attacker.requests()).find(({ url }) =>
      url.startsWith(`${stage.provider.issuer}/auth?`),
    );

    // The victim has a cookie of Patchbay too, from a connection of their own.
    const victim = await stage.visitor();
    await put(stage.pb, 'own', { mcpUrl: stage.guarded.url });
    await victim.page.goto(await stage.renew('own'));
    await victim.page.goto(begun?.url as string);
    await press(victim.page, 'Allow');
    await titled(victim.page, 'This login was not started here');
    expect(await victim.page.locator('main').innerText()).toContain('Nothing was connected.');
    await keepPicture(victim.page, 'other-browser');
    expect(stage.provider.tokenRequests).toEqual([]);

    // Nor can the attacker use the address that the victim ended at.
    await attacker.page.goto(victim.page.url());
    await titled(attacker.page, 'This login is over');
    expect(await stored(stage.pb, 'c')).toMatchObject({ state: 'auth_required' });
    expect(stage.provider.tokenRequests).toEqual([]);
  });

  it('takes a form from no other site', async () => {
    const { page } = await stage.visitor();
    const setupUrl = await stage.connect('c', stage.guarded);
    await page.goto(setupUrl);
    await page.goto(stage.provider.issuer);
    await page.setContent(
      `<form method="post" action="${setupUrl.replaceAll('&', '&amp;')}"><button>Win</button></form>`,
    );
    await press(page, 'Win');
    await titled(page, 'This form did not come from its page');
    expect(await logins()).toBe(0);
    expect(stage.provider.authorizations).toEqual([]);
  });
});
