import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { put } from '../fixtures/fault.ts';
import { openBrowser } from '../fixtures/oauth/browser.ts';
import { awaitLogin, type OAuthRig, setUpOAuth, setupUrlOf } from '../fixtures/oauth/rig.ts';
import type { TestPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';

let rig: OAuthRig;
let pb: TestPatchbay;
beforeEach(async () => {
  rig = await setUpOAuth();
  pb = await rig.start();
});
afterEach(() => rig.stop());

interface Entry {
  method: string;
  outcome: string;
  code: string | null;
  principal: unknown;
}

/** What the audit says of setup links, oldest first, once there are `count` entries. */
async function setupEntries(count: number): Promise<Entry[]> {
  return until(async () => {
    const answer = await pb.request('/audit');
    const { entries } = (await answer.json()) as { entries: Entry[] };
    const found = entries.filter(({ method }) => method.startsWith('setup/')).reverse();
    return found.length >= count ? found : undefined;
  });
}

const brief = (entries: Entry[]) => entries.map(({ method, outcome, code }) => [method, outcome, code]);

describe('the use of a setup link is in the audit', () => {
  it('from the opening to the login, under the organization and the connection', async () => {
    const setupUrl = await awaitLogin(pb, 'c', rig.server.mcpUrl);
    const browser = openBrowser();
    const form = await browser.get(setupUrl);
    await browser.follow(await browser.follow(await browser.submit(form)));
    const entries = await setupEntries(3);
    expect(brief(entries)).toEqual([
      ['setup/open', 'ok', null],
      ['setup/submit', 'ok', null],
      ['setup/login', 'ok', null],
    ]);
    for (const entry of entries) {
      expect(entry).toMatchObject({
        principal: { kind: 'setup_link', keyId: null, tokenId: null },
        namespace: 'default',
        connectionId: 'c',
      });
    }
    await openBrowser().get(setupUrl);
    expect(brief(await setupEntries(4)).at(-1)).toEqual(['setup/open', 'failed', 'setup_link_used']);
  });

  it('also a forged form, and a login that ends in another browser', async () => {
    const setupUrl = await awaitLogin(pb, 'c', rig.server.mcpUrl);
    const forged = await fetch(setupUrl, { method: 'POST', body: new URLSearchParams({ csrf: 'x' }) });
    expect(forged.status).toBe(403);
    const attacker = openBrowser();
    const answer = await attacker.follow(await attacker.submit(await attacker.get(setupUrl)));
    const victim = await openBrowser().get(attacker.next(answer) as string);
    expect(victim.status).toBe(403);
    expect(brief(await setupEntries(4))).toEqual([
      ['setup/submit', 'failed', 'setup_form_forged'],
      ['setup/open', 'ok', null],
      ['setup/submit', 'ok', null],
      ['setup/login', 'failed', 'login_other_browser'],
    ]);
  });

  it('but not a link that was never ours', async () => {
    const setupUrl = new URL(await awaitLogin(pb, 'c', rig.server.mcpUrl));
    setupUrl.searchParams.set('ticket', `${setupUrl.searchParams.get('ticket')?.slice(0, -2)}AA`);
    expect((await fetch(setupUrl)).status).toBe(404);
    await put(pb, 'later', { mcpUrl: rig.server.mcpUrl });
    await openBrowser().get(await setupUrlOf(pb, 'later'));
    expect(await setupEntries(1)).toEqual([expect.objectContaining({ connectionId: 'later' })]);
  });
});
