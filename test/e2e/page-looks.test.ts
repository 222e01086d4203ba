import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { accessibleNodes, chromiumPath, keepPicture, openChromium, visit } from '../fixtures/chromium.ts';
import { type Stage, setTheStage } from './stage.ts';
import { fillIn, logIn, press, titled } from './steps.ts';

const phones = [
  { name: 'phone', width: 390, height: 844 },
  { name: 'small-phone', width: 320, height: 568 },
];

describe.skipIf(!chromiumPath)('the looks of the pages', () => {
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

  /** Goes the whole way and stops at each page of Patchbay: form, problem, consent, both ends; then a sign-in. */
  async function eachPage(page: Page, look: (name: string) => Promise<void>): Promise<void> {
    await page.goto(await stage.connect('values', stage.asking));
    await look('form');
    await fillIn(page, { key: 'wrong-key', region: 'eu' });
    await press(page, 'Save');
    await page.getByRole('alert').waitFor();
    await look('problem');

    await page.goto(await stage.connect('login', stage.guarded));
    await look('consent');
    // The page between is seen only while the provider does not answer.
    await page.route(`${stage.provider.issuer}/**`, (route) => route.fulfill({ status: 204 }));
    await press(page, /^Continue to/);
    await titled(page, 'Taking you to');
    await look('continue');
    await page.unroute(`${stage.provider.issuer}/**`);
    await page.getByRole('link', { name: /^Continue to/ }).click();
    await titled(page, 'Allow access?');
    await press(page, 'Decline');
    await titled(page, 'You declined');
    await look('declined');
    await page.getByRole('link', { name: 'Try again' }).click();
    await logIn(page);
    await titled(page, 'All set');
    await look('done');
    await page.goto(`${stage.pb.url}/default/login/setup?ticket=x`);
    await titled(page, 'This link does not work');
    await look('no-link');

    const begun = await stage.pb.request('/api/auth/cli/session', { method: 'POST', key: null });
    const { authUrl } = (await begun.json()) as { authUrl: string };
    await page.goto(authUrl);
    await titled(page, 'Sign in to Patchbay');
    await look('sign-in');
    await page.getByLabel('API key').fill('pb_wrong');
    await press(page, 'Sign in');
    await page.getByRole('alert').waitFor();
    await look('sign-in-problem');
    await page.getByLabel('API key').fill(stage.pb.key);
    await press(page, 'Sign in');
    await titled(page, 'Log the command line in?');
    await look('cli-login');
    await press(page, 'Log it in');
    await titled(page, 'The command line is logged in');
    await look('cli-login-done');
    await page.goto(await inviteTo(stage.pb));
    await titled(page, 'Join default?');
    await look('invitation');
    await page.getByLabel('Your name').fill('Ada Lovelace');
    await press(page, 'Join');
    await titled(page, 'You are a member of default');
    await look('joined');
    await page.getByRole('link', { name: 'Go on' }).click();
    await titled(page, 'You are signed in');
    await look('signed-in');
  }

  it.each(phones)(
    'fits a phone of $width px: no sideways scroll, and all that is pressed is big enough',
    async (phone) => {
      const viewport = { width: phone.width, height: phone.height };
      const { page } = await stage.visitor({
        viewport,
        isMobile: true,
        hasTouch: true,
        deviceScaleFactor: 2,
      });
      const pages: string[] = [];
      await eachPage(page, async (name) => {
        pages.push(name);
        await keepPicture(page, `${phone.name}-${name}`);
        expect(await page.locator('html').evaluate((root) => root.scrollWidth), name).toBeLessThanOrEqual(
          phone.width,
        );
        for (const target of await page.locator('button, a, input:not([type="hidden"])').all()) {
          const box = await target.boundingBox();
          expect(box?.height, name).toBeGreaterThanOrEqual(44);
          expect((box?.x ?? -1) >= 0 && (box?.x ?? 0) + (box?.width ?? 0) <= phone.width, name).toBe(true);
        }
        // Below 16 px a phone zooms into the field.
        const sizes = await page
          .locator('input:not([type="hidden"])')
          .evaluateAll((inputs) =>
            inputs.map((input) => input.ownerDocument.defaultView.getComputedStyle(input).fontSize),
          );
        expect(
          sizes.every((size) => size === '16px'),
          name,
        ).toBe(true);
      });
      expect(pages).toHaveLength(14);
    },
  );

  it.each(['light', 'dark'] as const)('can be read in %s mode, at WCAG AA contrast', async (colorScheme) => {
    const { page } = await stage.visitor({ colorScheme });
    const grounds: number[] = [];
    await eachPage(page, async (name) => {
      await keepPicture(page, `${colorScheme}-${name}`);
      const texts = await coloursOf(page);
      expect(texts.length).toBeGreaterThan(2);
      for (const { text, color, ground } of texts) {
        expect(contrast(color, ground), `${name}: ${text}`).toBeGreaterThanOrEqual(4.5);
        grounds.push(luminance(ground));
      }
    });
    const average = grounds.reduce((sum, one) => sum + one, 0) / grounds.length;
    if (colorScheme === 'dark') expect(average).toBeLessThan(0.1);
    else expect(average).toBeGreaterThan(0.7);
  });

  it('has one heading, its title, a language, sound references and no script', async () => {
    const { page } = await stage.visitor();
    await eachPage(page, async (name) => {
      expect(await page.locator('html').getAttribute('lang'), name).toBe('en');
      expect(await page.locator('h1').count(), name).toBe(1);
      const heading = await page.locator('h1').innerText();
      expect((await page.title()).replace('Error: ', ''), name).toBe(heading.replace(/\s+/g, ' '));
      expect(await page.locator('main').count(), name).toBe(1);
      expect(
        await page.locator('script, iframe, object, link[rel=stylesheet], [style], [onclick]').count(),
        name,
      ).toBe(0);
      // Every id is there once, and whatever points to one finds it.
      const ids: string[] = await page
        .locator('[id]')
        .evaluateAll((elements) => elements.map(({ id }) => id));
      expect(new Set(ids).size, name).toBe(ids.length);
      for (const attribute of ['for', 'aria-describedby', 'aria-labelledby']) {
        const values: string[] = await page
          .locator(`[${attribute}]`)
          .evaluateAll(
            (elements, named) => elements.map((element) => element.getAttribute(named)),
            attribute,
          );
        expect(ids, name).toEqual(expect.arrayContaining(values.flatMap((value) => value.split(' '))));
      }
    });
  });

  it('tells a screen reader the name of every field and button', async () => {
    const { page } = await stage.visitor();
    const nodes = async (...roles: string[]) => {
      const all = await accessibleNodes(page);
      return all.filter(({ role }) => roles.includes(role));
    };
    await page.goto(await stage.connect('values', stage.asking));
    expect(await nodes('textbox', 'button', 'link', 'group')).toEqual([
      expect.objectContaining({ role: 'group', name: `${new URL(stage.asking.url).host} asks for` }),
      {
        role: 'textbox',
        name: 'API key required',
        description: 'From the page “Developers” of your account.',
        required: true,
        invalid: false,
      },
      {
        role: 'textbox',
        name: 'Region required',
        description: 'Where your data is kept: eu or us.',
        required: true,
        invalid: false,
      },
      { role: 'textbox', name: 'Team optional', description: '', required: false, invalid: false },
      expect.objectContaining({ role: 'button', name: 'Save' }),
    ]);
    expect(
      (await nodes('heading', 'main', 'region', 'contentinfo')).map(({ role, name }) => `${role} ${name}`),
    ).toEqual([
      'main ',
      `heading Connect ${new URL(stage.asking.url).host}`,
      'region What you agree to',
      'heading What you agree to',
      'contentinfo ',
    ]);
    // Decoration is not read out.
    expect(await nodes('image', 'img', 'graphics-document')).toEqual([]);

    await fillIn(page, { key: 'wrong-key', region: 'eu' });
    await press(page, 'Save');
    await page.getByRole('alert').waitFor();
    expect(await nodes('alert')).toHaveLength(1);

    await page.goto(await stage.connect('login', stage.guarded));
    const host = new URL(stage.provider.issuer).host;
    expect((await nodes('button', 'link', 'textbox')).map(({ name }) => name)).toEqual([
      `Continue to ${host}`,
    ]);
  });

  it('is seen by nobody in a frame of another site', async () => {
    const { page } = await stage.visitor();
    const setupUrl = await stage.connect('c', stage.guarded);
    await page.goto(stage.provider.issuer);
    await page.setContent(`<iframe src="${setupUrl.replaceAll('&', '&amp;')}"></iframe>`);
    const frame = page.frames()[1];
    await frame?.waitForLoadState();
    expect(frame?.url()).toMatch(/^chrome-error:/);
  });

  it('would be told on if it broke its content security policy or called another host', async () => {
    const visitor = await visit(browser);
    const { page, context, complaints } = visitor;
    try {
      const setupUrl = await stage.connect('c', stage.guarded);
      await page.route(setupUrl, async (route) => {
        const response = await route.fetch();
        const body = (await response.text()).replace(
          '</main>',
          `<script>document.title = 'run'</script><p style="color:red"></p><img src="${stage.provider.issuer}/x.png" alt=""><img src="https://127.0.0.1:1/" alt=""></main>`,
        );
        await route.fulfill({ response, body });
      });
      await page.goto(setupUrl);
      expect(await page.title()).not.toBe('run');
      const told = complaints(stage.pb.url).join('\n');
      expect(told).toContain('asked another host: https://127.0.0.1:1/');
      expect(told).toContain('script-src');
      expect(told).toContain('style-src');
      expect(told).toContain('img-src');
    } finally {
      await context.close();
    }
  });
});

type Rgb = [number, number, number];

/** Every text that is seen, with its colour and that of the ground it stands on. */
async function coloursOf(page: Page): Promise<{ text: string; color: Rgb; ground: Rgb }[]> {
  const found: { text: string; color: string; ground: string }[] = await page
    .locator('body *')
    .evaluateAll((elements) =>
      elements.flatMap((element) => {
        const view = element.ownerDocument.defaultView;
        const texts = [...element.childNodes].filter(
          (node) => node.nodeType === 3 && node.data.trim() !== '',
        );
        if (texts.length === 0 || element.getClientRects().length === 0) return [];
        let ground = element;
        const colourOf = () => view.getComputedStyle(ground).backgroundColor;
        while (ground.parentElement && colourOf() === 'rgba(0, 0, 0, 0)') ground = ground.parentElement;
        return [
          { text: texts[0].data.trim(), color: view.getComputedStyle(element).color, ground: colourOf() },
        ];
      }),
    );
  return found.map(({ text, color, ground }) => ({ text, color: rgb(color), ground: rgb(ground) }));
}

function rgb(css: string): Rgb {
  const numbers = css.match(/^rgb\((\d+), (\d+), (\d+)\)$/);
  if (!numbers) throw new Error(`This is no opaque colour: ${css}`);
  return [Number(numbers[1]), Number(numbers[2]), Number(numbers[3])];
}

/** WCAG 2.2, "relative luminance". */
function luminance(color: Rgb): number {
  const [red = 0, green = 0, blue = 0] = color.map((part) => {
    const value = part / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** WCAG 2.2, "contrast ratio". */
function contrast(one: Rgb, other: Rgb): number {
  const [dark = 0, light = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

/** The link of a new invitation. */
async function inviteTo(pb: Stage['pb']): Promise<string> {
  const listed = await pb.request('/organizations');
  const { organizations } = (await listed.json()) as { organizations: { id: string }[] };
  const path = `/organizations/${organizations[0]?.id}/invitations`;
  const answer = await pb.request(path, { method: 'POST', json: {} });
  return ((await answer.json()) as { url: string }).url;
}
