import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chromiumPath, keepPicture, openChromium, visit } from '../fixtures/chromium.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';

describe.skipIf(chromiumPath === undefined)('the page to read the contract', () => {
  let browser: Browser;
  let pb: TestPatchbay;

  beforeAll(async () => {
    browser = await openChromium();
    pb = await startPatchbay();
  });
  afterAll(async () => {
    await pb?.stop();
    await browser?.close();
  });

  test('shows what can be asked for, opens one of it, and asks nobody else', async () => {
    const visitor = await visit(browser);
    await visitor.page.goto(pb.url);

    await visitor.page.locator('.opblock-summary-control').first().click();
    await visitor.page.getByRole('heading', { name: 'Responses' }).first().waitFor();

    expect(new URL(visitor.page.url()).pathname).toBe('/docs');
    expect(await visitor.page.locator('.opblock').count()).toBeGreaterThan(30);
    expect(visitor.complaints(pb.url)).toEqual([]);
    await keepPicture(visitor.page, 'documentation');
    await visitor.context.close();
  });
});
