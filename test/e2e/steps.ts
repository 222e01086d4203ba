import type { Page } from 'playwright-core';
import { right } from './asking-server.ts';

/** Waits for a page whose one big heading has this text; the error says which page was there instead. */
export async function titled(page: Page, text: string | RegExp): Promise<void> {
  const headings = page.getByRole('heading', { level: 1 });
  try {
    await headings.filter({ hasText: text }).waitFor();
  } catch (error) {
    throw new Error(`no page titled ${text} came, but ${await seen(page)}`, { cause: error });
  }
}

/** Where a page is and what it says, without waiting for it: it may be one that never finishes. */
async function seen(page: Page): Promise<string> {
  const text = page.locator('body').innerText({ timeout: 1_000 });
  const shown = await text.catch((error: Error) => `nothing that could be read (${error.message})`);
  return `${page.url()}: ${shown.replaceAll(/\s+/g, ' ')}`;
}

export async function press(page: Page, button: string | RegExp): Promise<void> {
  await page.getByRole('button', { name: button }).click();
}

/** Fills in the form of an asking server. */
export async function fillIn(page: Page, { key, region }: typeof right = right): Promise<void> {
  await page.getByLabel('API key').fill(key);
  await page.getByLabel('Region').fill(region);
}

/** From the consent on the setup page through the provider. */
export async function logIn(page: Page, decision: 'Allow' | 'Decline' = 'Allow'): Promise<void> {
  await press(page, /^Continue to/);
  await titled(page, 'Allow access?');
  await press(page, decision);
}
