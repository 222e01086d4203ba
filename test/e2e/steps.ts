import type { Page } from 'playwright-core';
import { right } from './asking-server.ts';

/** Waits for a page whose one big heading has this text. */
export async function titled(page: Page, text: string | RegExp): Promise<void> {
  await page.getByRole('heading', { level: 1 }).filter({ hasText: text }).waitFor();
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
