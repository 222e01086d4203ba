import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mcp, read, stored, untilState } from '../fixtures/fault.ts';
import { type Browser, openBrowser, type Page } from '../fixtures/oauth/browser.ts';
import { oauthError } from '../fixtures/oauth/faults.ts';
import { startFaultyAuthorizationServer } from '../fixtures/oauth/faulty-authorization-server.ts';
import {
  awaitLogin,
  connectByLogin,
  expectCallWorks,
  type OAuthRig,
  rpc,
  setUpOAuth,
  setupUrlOf,
  tokenRequests,
} from '../fixtures/oauth/rig.ts';
import type { TestPatchbay } from '../fixtures/patchbay.ts';

let rig: OAuthRig;
let pb: TestPatchbay;
beforeEach(async () => {
  rig = await setUpOAuth();
  pb = await rig.start();
});
afterEach(() => rig.stop());

/** A login up to the point where the provider sends the browser back. */
interface BegunLogin {
  browser: Browser;
  /** The provider's redirect. */
  answer: Page;
  /** Where it leads. */
  callback: string;
}

async function beginLogin(setupUrl: string, browser = openBrowser()): Promise<BegunLogin> {
  const continued = await browser.submit(await browser.get(setupUrl));
  const answer = await browser.follow(continued);
  return { browser, answer, callback: browser.next(answer) as string };
}

function finish({ browser, answer }: BegunLogin): Promise<Page> {
  return browser.follow(answer);
}

/** The callback as an attacker would change it; `undefined` takes a parameter out. */
function altered({ callback }: BegunLogin, parameters: Record<string, string | undefined>): string {
  const url = new URL(callback);
  for (const [name, value] of Object.entries(parameters)) {
    if (value === undefined) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  return url.href;
}

function codesSpent(): number {
  return tokenRequests(rig.server, 'authorization_code').length;
}

/** The token that a call carries. */
async function tokenInUse(id: string): Promise<string | undefined> {
  expect((await mcp(pb, id, rpc())).status).toBe(200);
  return rig.server.requestsTo('mcp').at(-1)?.headers.authorization;
}

async function expectStillWaiting(id = 'c'): Promise<void> {
  expect(codesSpent()).toBe(0);
  expect(await stored(pb, id)).toEqual({ state: 'auth_required' });
}

/** Holds the next answer of the token endpoint back, after the grant took effect there. */
function holdTokenAnswer(): { reached: Promise<void>; release: () => void } {
  const reached = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  rig.server.behaviour.token.afterGrant = () => {
    rig.server.behaviour.token.afterGrant = undefined;
    reached.resolve();
    return released.promise;
  };
  return { reached: reached.promise, release: released.resolve };
}

describe('a login that comes back', () => {
  it('counts once: replayed, it changes nothing', async () => {
    const login = await beginLogin(await awaitLogin(pb, 'c', rig.server.mcpUrl));
    expect((await finish(login)).text).toContain('All set');
    await untilState(pb, 'c', 'connected');
    const token = await tokenInUse('c');

    const replayed = await finish(login);
    expect(replayed.status).toBe(410);
    expect(replayed.text).toContain('This login is over');
    expect(codesSpent()).toBe(1);
    expect(await tokenInUse('c')).toBe(token);
  });

  it('counts once when it comes twice at the same moment', async () => {
    const login = await beginLogin(await awaitLogin(pb, 'c', rig.server.mcpUrl));
    const pages = await Promise.all([finish(login), finish(login), finish(login)]);
    expect(pages.map(({ status }) => status).sort()).toEqual([200, 410, 410]);
    expect(codesSpent()).toBe(1);
    await expectCallWorks(pb, 'c');
  });

  // An attacker begins, and sends the provider's address to a victim (mcp.md §12.1).
  it('is refused in another browser than the one that began it, with a cookie or without', async () => {
    const setupUrl = await awaitLogin(pb, 'c', rig.server.mcpUrl);
    const victim = openBrowser();
    for (const prepare of [async () => {}, () => victim.get(setupUrl)]) {
      const { callback } = await beginLogin(setupUrl);
      await prepare();
      const page = await victim.get(callback);
      expect(page.status).toBe(403);
      expect(page.text).toContain('not started here');
      await expectStillWaiting();
    }
  });

  it.each([
    ['unknown', { state: 'x'.repeat(43), code: 'code' }],
    ['empty', { state: '', code: 'code' }],
    ['missing', { code: 'code' }],
  ])('is refused when its state is %s', async (_, parameters) => {
    const { browser } = await beginLogin(await awaitLogin(pb, 'c', rig.server.mcpUrl));
    const page = await browser.get(`${pb.url}/oauth/callback?${new URLSearchParams(parameters)}`);
    expect(page.status).toBe(410);
    expect(page.text).toContain('This login is over');
    await expectStillWaiting();
  });

  it('is refused with repeated or endless parameters', async () => {
    const login = await beginLogin(await awaitLogin(pb, 'c', rig.server.mcpUrl));
    for (const url of [`${login.callback}&state=other`, `${login.callback}&code=${'c'.repeat(9000)}`]) {
      expect((await login.browser.get(url)).status).toBe(400);
    }
    await expectStillWaiting();
  });

  it('is refused when it took longer than a login may', async () => {
    const login = await beginLogin(await awaitLogin(pb, 'c', rig.server.mcpUrl));
    rig.clock.advance(10 * 60_000);
    const page = await finish(login);
    expect(page.status).toBe(410);
    expect(page.text).toContain('longer than ten minutes');
    await expectStillWaiting();
  });

  it('leaves no trace that leads on: not stored by caches, no address for other sites', async () => {
    const login = await beginLogin(await awaitLogin(pb, 'c', rig.server.mcpUrl));
    const page = await finish(login);
    expect(page.headers.get('cache-control')).toContain('no-store');
    expect(page.headers.get('referrer-policy')).toMatch(/^(no-referrer|same-origin)$/);
    const { searchParams } = new URL(login.callback);
    for (const secret of [searchParams.get('state'), searchParams.get('code')]) {
      expect(secret).toBeTruthy();
      expect(page.text).not.toContain(secret);
    }
  });
});

describe('the issuer in a login that comes back (RFC 9207)', () => {
  it.each([
    ['another', 'https://evil.example'],
    ['the same with a slash behind it', undefined],
  ])('is refused, and the code not spent, if it is %s', async (_, wrong) => {
    rig.server.behaviour.authorize.iss = { wrong: wrong ?? `${rig.server.issuer}/` };
    const page = await finish(await beginLogin(await awaitLogin(pb, 'c', rig.server.mcpUrl)));
    expect(page.status).toBe(502);
    expect(page.text).toContain('another authorization server than was asked');
    await expectStillWaiting();
  });

  it('must be there if the server says that it sends it', async () => {
    rig.server.behaviour.authorize.iss = { absent: true };
    const page = await finish(await beginLogin(await awaitLogin(pb, 'c', rig.server.mcpUrl)));
    expect(page.status).toBe(502);
    await expectStillWaiting();
  });

  it('may be missing if the server does not send it', async () => {
    rig.server.behaviour.authorize.iss = { absent: true };
    rig.server.behaviour.metadata.document.authorization_response_iss_parameter_supported = undefined;
    const page = await finish(await beginLogin(await awaitLogin(pb, 'c', rig.server.mcpUrl)));
    expect(page.text).toContain('All set');
    await expectCallWorks(pb, 'c');
  });

  it('keeps the code of one server from being given to another', async () => {
    const other = await startFaultyAuthorizationServer();
    try {
      const browser = openBrowser();
      const login = await beginLogin(await awaitLogin(pb, 'c', rig.server.mcpUrl), browser);
      const atOther = await beginLogin(await awaitLogin(pb, 'd', other.mcpUrl), browser);
      const code = new URL(atOther.callback).searchParams.get('code') as string;
      const page = await browser.get(altered(login, { code, iss: other.issuer }));
      expect(page.status).toBe(502);
      await expectStillWaiting();
    } finally {
      await other.close();
    }
  });

  it('is checked before anything else is believed: no text and no error of a wrong one is shown', async () => {
    const setupUrl = await awaitLogin(pb, 'c', rig.server.mcpUrl);
    for (const error of ['access_denied', 'server_error']) {
      const login = await beginLogin(setupUrl);
      const page = await login.browser.get(
        altered(login, {
          code: undefined,
          error,
          error_description: 'Call 555-0100 to log in',
          iss: 'https://evil.example',
        }),
      );
      expect(page.status).toBe(502);
      expect(page.text).not.toMatch(/555-0100|declined|server_error|evil/);
    }
    await expectStillWaiting();
  });
});

describe('a login that the provider ends', () => {
  it('says so when the person declined, and can be tried again from there', async () => {
    rig.server.behaviour.authorize.error = { code: 'access_denied', description: 'Go away' };
    const login = await beginLogin(await awaitLogin(pb, 'c', rig.server.mcpUrl));
    const page = await finish(login);
    expect(page.text).toContain('You declined');
    expect(page.text).not.toContain('Go away');
    await expectStillWaiting();

    rig.server.heal();
    const again = /href="([^"]*\/setup\?[^"]*)"/.exec(page.text)?.[1]?.replaceAll('&amp;', '&');
    const retried = await beginLogin(new URL(again as string, pb.url).href, login.browser);
    expect((await finish(retried)).text).toContain('All set');
    await expectCallWorks(pb, 'c');
  });

  it.each([
    ['server_error', 'server_error'],
    ['<script>alert(1)</script>', 'no code'],
  ])('names the error %s, and nothing that the provider wrote freely', async (code, shown) => {
    rig.server.behaviour.authorize.error = { code, description: 'Please send your password' };
    const page = await finish(await beginLogin(await awaitLogin(pb, 'c', rig.server.mcpUrl)));
    expect(page.status).toBe(502);
    expect(page.text).toContain(shown);
    expect(page.text).not.toMatch(/password|<script/);
    await expectStillWaiting();
  });

  it.each([
    ['refuses the code', oauthError('invalid_grant'), 'invalid_grant'],
    ['fails', oauthError('server_error', 500), 'answered 500'],
  ])(
    'stays a wait for the user when the token endpoint %s, and the next login works',
    async (_, fault, shown) => {
      const setupUrl = await awaitLogin(pb, 'c', rig.server.mcpUrl);
      rig.server.behaviour.faults.token = [fault];
      const page = await finish(await beginLogin(setupUrl));
      expect(page.status).toBe(502);
      expect(page.text).toContain(shown);
      expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });

      expect((await finish(await beginLogin(setupUrl))).text).toContain('All set');
      await expectCallWorks(pb, 'c');
    },
  );
});

// Pains 12.
describe('a login that comes back late', () => {
  it('does not take the place of one that was completed meanwhile', async () => {
    const setupUrl = await awaitLogin(pb, 'c', rig.server.mcpUrl);
    const late = await beginLogin(setupUrl);
    expect((await finish(await beginLogin(setupUrl))).text).toContain('All set');
    const token = await tokenInUse('c');

    const page = await finish(late);
    expect(page.status).toBe(410);
    expect(page.text).toContain('set up and working');
    expect(codesSpent()).toBe(1);
    expect(await tokenInUse('c')).toBe(token);
  });

  it('does not, even if its code was spent before the other login was completed', async () => {
    const setupUrl = await awaitLogin(pb, 'c', rig.server.mcpUrl);
    const [late, other] = [await beginLogin(setupUrl), await beginLogin(setupUrl)];
    const held = holdTokenAnswer();
    const finishing = finish(late);
    await held.reached;
    expect((await finish(other)).text).toContain('All set');
    const token = await tokenInUse('c');

    held.release();
    expect((await finishing).status).toBe(410);
    expect(codesSpent()).toBe(2);
    expect(await tokenInUse('c')).toBe(token);
  });

  it('does not undo a login that was made anew', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    const late = await beginLogin(await setupUrlOf(pb, 'c'));
    await finish(await beginLogin(await setupUrlOf(pb, 'c')));
    const token = await tokenInUse('c');
    expect((await finish(late)).status).toBe(410);
    expect(await tokenInUse('c')).toBe(token);
  });

  it('finds nothing when the connection was deleted, not even another of the same name', async () => {
    const setupUrl = await awaitLogin(pb, 'c', rig.server.mcpUrl);
    const [login, later] = [await beginLogin(setupUrl), await beginLogin(setupUrl)];
    await pb.request('/connect/default/c', { method: 'DELETE' });
    expect((await finish(login)).status).toBe(410);
    await awaitLogin(pb, 'c', rig.server.mcpUrl);
    expect((await finish(later)).status).toBe(410);
    await expectStillWaiting();
  });

  it('ends quietly when the connection is deleted while its code is exchanged', async () => {
    const login = await beginLogin(await awaitLogin(pb, 'c', rig.server.mcpUrl));
    const held = holdTokenAnswer();
    const finishing = finish(login);
    await held.reached;
    await pb.request('/connect/default/c', { method: 'DELETE' });
    held.release();
    expect((await finishing).status).toBe(410);
    expect((await read(await pb.request('/connect/default/c'))).status).toBe(404);
  });
});

describe('a person with more than one window', () => {
  it('logs in once from two tabs, whichever comes first', async () => {
    const setupUrl = await awaitLogin(pb, 'c', rig.server.mcpUrl);
    const browser = openBrowser();
    const [first, second] = [await beginLogin(setupUrl, browser), await beginLogin(setupUrl, browser)];
    expect((await finish(second)).text).toContain('All set');
    expect((await finish(first)).status).toBe(410);
    await expectCallWorks(pb, 'c');
  });

  it('may send the form twice', async () => {
    const browser = openBrowser();
    const page = await browser.get(await awaitLogin(pb, 'c', rig.server.mcpUrl));
    const continued = await Promise.all([browser.submit(page), browser.submit(page)]);
    expect(continued.map(({ status }) => status)).toEqual([200, 200]);
    const last = await browser.follow(await browser.follow(continued[1] as Page));
    expect(last.text).toContain('All set');
    await expectCallWorks(pb, 'c');
  });
});

describe('a setup link', () => {
  it('answers 410 once its setup is completed, to looking and to sending', async () => {
    const setupUrl = await awaitLogin(pb, 'c', rig.server.mcpUrl);
    const browser = openBrowser();
    const opened = await browser.get(setupUrl);
    await finish(await beginLogin(setupUrl));
    await untilState(pb, 'c', 'connected');
    expect((await browser.get(setupUrl)).status).toBe(410);
    expect((await browser.submit(opened)).status).toBe(410);
  });

  it('answers 410 after an hour, and says what to do', async () => {
    const setupUrl = await awaitLogin(pb, 'c', rig.server.mcpUrl);
    const browser = openBrowser();
    const opened = await browser.get(setupUrl);
    rig.clock.advance(60 * 60_000);
    for (const page of [await browser.get(setupUrl), await browser.submit(opened)]) {
      expect(page.status).toBe(410);
      expect(page.text).toContain('This link has expired');
      expect(page.text).toContain('Go back to the application');
    }
    await expectStillWaiting();
  });

  it.each(['', 'ticket=', 'ticket=0.zzzzzzzz.AAAA'])('answers 404 with the ticket "%s"', async (query) => {
    const setupUrl = new URL(await awaitLogin(pb, 'c', rig.server.mcpUrl));
    setupUrl.search = query;
    expect((await openBrowser().get(setupUrl.href)).status).toBe(404);
  });

  it('does not open another connection', async () => {
    const setupUrl = new URL(await awaitLogin(pb, 'c', rig.server.mcpUrl));
    await awaitLogin(pb, 'd', rig.server.mcpUrl);
    setupUrl.pathname = '/default/d/setup';
    expect((await openBrowser().get(setupUrl.href)).status).toBe(404);
  });

  it('starts nothing by being looked at, nor by a form without the cookie of its page', async () => {
    const setupUrl = await awaitLogin(pb, 'c', rig.server.mcpUrl);
    const page = await openBrowser().get(setupUrl);
    const before = rig.server.requests.length;
    expect((await openBrowser().submit(page)).status).toBe(403);
    // A cookie of its own does not help a browser to send a form that another one was given.
    const other = openBrowser();
    await other.get(setupUrl);
    expect((await other.submit(page)).status).toBe(403);
    expect(rig.server.requests.length).toBe(before);
    expect(await pb.store.db.selectFrom('logins').selectAll().execute()).toEqual([]);
  });
});
