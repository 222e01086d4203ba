import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { chromiumPath, keepPicture, openChromium } from '../fixtures/chromium.ts';
import { count, echoCall, mcp, stored } from '../fixtures/fault.ts';
import { startUpstream, type Upstream } from '../fixtures/upstream.ts';
import { right } from './asking-server.ts';
import { type Stage, setTheStage } from './stage.ts';
import { fillIn, logIn, press, titled } from './steps.ts';

describe.skipIf(!chromiumPath)('the setup page in a browser', () => {
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

  it('takes the values that a server asks for, and the connection works', async () => {
    const { page } = await stage.visitor();
    await page.goto(await stage.connect('c', stage.asking));
    const host = new URL(stage.asking.url).host;
    await titled(page, `Connect ${host}`);
    const text = await page.locator('main').innerText();
    expect(text).toContain('The application default will be able to use');
    expect(text).toContain(`${host} asks for`);
    expect(text).toContain('If somebody you do not know sent you this link, close this page.');
    await keepPicture(page, 'inputs-1-form');

    await fillIn(page);
    await press(page, 'Save');
    await titled(page, 'All set');
    await keepPicture(page, 'inputs-2-done');

    expect(await stored(stage.pb, 'c')).toMatchObject({ state: 'connected' });
    expect((await mcp(stage.pb, 'c', echoCall())).status).toBe(200);
    const call = stage.asking.received.findLast(({ message }) => message?.method === 'tools/call');
    expect(call?.headers['x-api-key']).toBe(right.key);
    expect(call?.path).toBe('/mcp?region=eu');
  });

  it('sends the person to log in, says where and for what, and the connection works', async () => {
    const { page } = await stage.visitor();
    await page.goto(await stage.connect('c', stage.guarded));
    await titled(page, 'Connect');
    const text = await page.locator('main').innerText();
    expect(text).toContain(new URL(stage.provider.issuer).host);
    expect(await page.locator('.scopes li').allInnerTexts()).toEqual(['read', 'write']);
    await keepPicture(page, 'login-1-consent');

    await press(page, /^Continue to 127\.0\.0\.1/);
    await titled(page, 'Allow access?');
    await keepPicture(page, 'login-2-provider');
    await press(page, 'Allow');
    await titled(page, 'All set');
    await keepPicture(page, 'login-3-done');

    expect(await stored(stage.pb, 'c')).toMatchObject({ state: 'connected' });
    expect((await mcp(stage.pb, 'c', echoCall(1, { text: 'hi' }))).status).toBe(200);
  });

  it('says where and for what one logs in after the values, before it sends the person there', async () => {
    const { page } = await stage.visitor();
    await page.goto(await stage.connect('c', stage.both));
    expect(await page.locator('main').innerText()).not.toContain('You log in at');
    await keepPicture(page, 'both-1-form');
    await fillIn(page);
    await press(page, 'Save');

    await page.getByText('You log in at').waitFor();
    expect(stage.provider.authorizations).toEqual([]);
    expect(await page.locator('.scopes li').allInnerTexts()).toEqual(['read', 'write']);
    await keepPicture(page, 'both-2-consent');
    await logIn(page);
    await titled(page, 'All set');
    expect(await stored(stage.pb, 'c')).toMatchObject({ state: 'connected' });
  });

  it('takes a no for a no, and lets the person try again', async () => {
    const { page } = await stage.visitor();
    await page.goto(await stage.connect('c', stage.guarded));
    await logIn(page, 'Decline');
    await titled(page, 'You declined');
    await keepPicture(page, 'declined-1');
    expect(await stored(stage.pb, 'c')).toMatchObject({ state: 'auth_required' });
    expect(stage.provider.tokenRequests).toEqual([]);

    await page.getByRole('link', { name: 'Try again' }).click();
    await logIn(page);
    await titled(page, 'All set');
    expect(await stored(stage.pb, 'c')).toMatchObject({ state: 'connected' });
  });

  it('says so when the server refuses a value, keeps what may be seen, and takes the right one', async () => {
    const { page } = await stage.visitor();
    await page.goto(await stage.connect('c', stage.asking));
    await fillIn(page, { ...right, key: 'wrong-key' });
    await press(page, 'Save');
    await titled(page, 'Connect');
    const problems = page.getByRole('alert');
    expect(await problems.innerText()).toContain('The server did not accept what you entered.');
    expect(await page.title()).toMatch(/^Error: /);
    expect(await problems.evaluate((element) => element === element.ownerDocument.activeElement)).toBe(true);
    expect(await page.getByLabel('API key').inputValue()).toBe('');
    expect(await page.locator('label span').allInnerTexts()).toEqual([
      'leave empty to keep',
      'required',
      'optional',
    ]);
    expect(await page.getByLabel('Region').inputValue()).toBe(right.region);
    expect(await page.content()).not.toContain('wrong-key');
    await keepPicture(page, 'refused-1');

    await page.getByLabel('API key').fill(right.key);
    await press(page, 'Save');
    await titled(page, 'All set');
    expect(await stored(stage.pb, 'c')).toMatchObject({ state: 'connected' });
  });

  it('takes another value of the query where the first was refused', async () => {
    const { page } = await stage.visitor();
    await page.goto(await stage.connect('c', stage.asking));
    await fillIn(page, { ...right, region: 'mars' });
    await press(page, 'Save');
    await page.getByRole('alert').waitFor();
    await page.getByLabel('Region').fill(right.region);
    await press(page, 'Save');
    await titled(page, 'All set');
    expect(await stored(stage.pb, 'c')).toMatchObject({ state: 'connected' });
  });

  it('lets a connection that works log in again, under the same id', async () => {
    const { page } = await stage.visitor();
    await page.goto(await stage.connect('c', stage.guarded));
    await logIn(page);
    await titled(page, 'All set');

    await page.goto(await stage.renew('c'));
    await titled(page, 'Log in again at');
    const text = await page.locator('main').innerText();
    expect(text).toContain('The connection stays as it is.');
    expect(text).toContain(new URL(stage.provider.issuer).host);
    expect(await page.locator('.scopes li').allInnerTexts()).toEqual(['read', 'write']);
    await keepPicture(page, 'again-1-consent');
    expect((await mcp(stage.pb, 'c', echoCall(1, { text: 'still' }))).status).toBe(200);

    await press(page, `Continue to ${new URL(stage.provider.issuer).host}`);
    await press(page, 'Allow');
    await titled(page, 'All set');
    expect(stage.provider.tokenRequests).toHaveLength(2);
    expect((await mcp(stage.pb, 'c', echoCall(2, { text: 'hi' }))).status).toBe(200);
  });

  it('goes all the way without JavaScript', async () => {
    const { page } = await stage.visitor({ javaScriptEnabled: false });
    await page.goto(await stage.connect('c', stage.both));
    await fillIn(page);
    await press(page, 'Save');
    await logIn(page);
    await titled(page, 'All set');
    expect(await stored(stage.pb, 'c')).toMatchObject({ state: 'connected' });
  });

  it('goes all the way with the keyboard alone', async () => {
    const { page } = await stage.visitor();
    await page.goto(await stage.connect('c', stage.both));
    const focused = () => page.locator(':focus');
    // The first field gets the focus by itself, a moment after the page is there.
    await page.locator('input:focus').waitFor();
    await page.keyboard.type(right.key);
    await page.keyboard.press('Tab');
    await page.keyboard.type(right.region);
    await page.keyboard.press('Tab');
    expect(await focused().getAttribute('name')).toBe('query:team');
    expect(
      await page
        .locator('input')
        .evaluateAll((inputs) => inputs.map((input) => (input as { value?: string }).value)),
    ).toEqual(expect.arrayContaining([right.key, right.region]));
    await page.keyboard.press('Tab');
    expect(await focused().innerText()).toBe('Save');
    const ring = await focused().evaluate((element) => {
      const { outlineStyle, outlineWidth } = element.ownerDocument.defaultView.getComputedStyle(element);
      return `${outlineStyle} ${outlineWidth}`;
    });
    expect(ring).toBe('solid 3px');
    await keepPicture(page, 'keyboard-1-button');
    await page.keyboard.press('Enter');

    await page.getByText('You log in at').waitFor();
    await page.keyboard.press('Tab');
    expect(await focused().innerText()).toMatch(/^Continue to/);
    await page.keyboard.press('Enter');
    await titled(page, 'Allow access?');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await titled(page, 'All set');
  });

  describe('with a way back to the application', () => {
    let app: Upstream;
    beforeEach(async () => {
      app = await startUpstream((_, response) => {
        response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Back in the application</h1>');
      }, '/done');
      const settings = { returnUrls: [new URL('/', app.url).href] };
      await stage.pb.request('/namespaces/default/settings', { method: 'PATCH', json: settings });
    });
    afterEach(async () => {
      await app.stop();
    });
    const withReturn = (setupUrl: string, returnUrl: string) =>
      `${setupUrl}&returnUrl=${encodeURIComponent(returnUrl)}`;
    const arrivals = () => app.received.filter(({ path }) => path.startsWith('/done'));

    it('brings the person back after a login, with the connection and its status', async () => {
      const { page } = await stage.visitor();
      await page.goto(withReturn(await stage.connect('c', stage.both), `${app.url}?tab=2`));
      expect(await page.locator('main').innerText()).toContain(`Then back to\n${new URL(app.url).host}`);
      await fillIn(page);
      await press(page, 'Save');
      await logIn(page);
      await titled(page, 'Back in the application');
      expect(arrivals().map(({ path }) => path)).toEqual(['/done?tab=2&connectionId=c&status=connected']);
      expect(arrivals()[0]?.headers.referer).toBeUndefined();
    });

    it('brings the person back after values alone', async () => {
      const { page } = await stage.visitor();
      await page.goto(withReturn(await stage.connect('c', stage.asking), app.url));
      await fillIn(page);
      await press(page, 'Save');
      await titled(page, 'Back in the application');
      expect(arrivals().map(({ path }) => path)).toEqual(['/done?connectionId=c&status=connected']);
    });

    it('remembers the way back when the person declines and tries again', async () => {
      const { page } = await stage.visitor();
      await page.goto(withReturn(await stage.connect('c', stage.guarded), app.url));
      await logIn(page, 'Decline');
      await page.getByRole('link', { name: 'Try again' }).click();
      await logIn(page);
      await titled(page, 'Back in the application');
    });

    it('leads nowhere that the application has not listed', async () => {
      const { page } = await stage.visitor();
      const setupUrl = await stage.connect('c', stage.guarded);
      const other = `http://127.0.0.1:${app.port + 1}/done`;
      const answer = await page.goto(withReturn(setupUrl, other));
      expect(answer?.status()).toBe(400);
      await titled(page, 'This link leads somewhere unknown');
      await keepPicture(page, 'return-not-listed');
      expect(await page.getByRole('button').count()).toBe(0);
    });
  });

  it('says what stands in the way when the login goes wrong', async () => {
    const { page } = await stage.visitor();
    await page.goto(await stage.connect('c', stage.guarded));
    await press(page, /^Continue to/);
    await titled(page, 'Allow access?');
    stage.provider.purgeClients();
    await page.goBack();
    await stage.provider.close();
    await press(page, /^Continue to/);
    expect(await page.getByRole('alert').innerText()).toContain('The login cannot start');
    await keepPicture(page, 'login-cannot-start');
    expect(count(stage.asking, 'tools/call')).toBe(0);
  });
});
