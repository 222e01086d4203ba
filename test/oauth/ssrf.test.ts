import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Lookup } from '../../src/platform/egress/dispatcher.ts';
import { mcp, put, stored } from '../fixtures/fault.ts';
import { openBrowser, type Page } from '../fixtures/oauth/browser.ts';
import { redirect } from '../fixtures/oauth/faults.ts';
import { addressFields } from '../fixtures/oauth/faulty-metadata.ts';
import {
  connectByLogin,
  expectCallWorks,
  type OAuthRig,
  refreshes,
  rpc,
  setUpOAuth,
} from '../fixtures/oauth/rig.ts';
import type { TestPatchbay } from '../fixtures/patchbay.ts';
import { startUpstream } from '../fixtures/upstream.ts';

// Pains 35.

let rig: OAuthRig;
let inside: Inside;
beforeEach(async () => {
  rig = await setUpOAuth();
  inside = await startInside();
});
afterEach(async () => {
  await rig.stop();
  await inside.close();
});

/** A server of the inside network, which no document may lead to. */
interface Inside {
  port: number;
  /** How many connections it got; a TLS handshake counts too. */
  connections: () => number;
  close: () => Promise<void>;
}

async function startInside(): Promise<Inside> {
  let connections = 0;
  const server: Server = createServer((_, response) => response.writeHead(500).end());
  server.on('connection', () => {
    connections++;
  });
  // Another loopback address than the one that the operator has allowed.
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.2', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => connections,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}

const names: Record<string, string> = {
  'inside.example': '127.0.0.2',
  'metadata.example': '169.254.169.254',
};

const lookup: Lookup = (host, answer) => {
  const address = names[host];
  if (address) answer(null, [{ address, family: 4 }]);
  else answer(Object.assign(new Error('no such host'), { code: 'ENOTFOUND' }), []);
};

function start(allowed: string): Promise<TestPatchbay> {
  return rig.start({ lookup, env: { PATCHBAY_ALLOW_PRIVATE_UPSTREAMS: allowed } });
}

/** The ways to write an address inside, as https. */
function insideUrls(): string[] {
  const { port } = inside;
  return [
    `https://127.0.0.2:${port}/x`,
    `https://[::ffff:7f00:2]:${port}/x`,
    `https://inside.example:${port}/x`,
  ];
}

/**
 * Everything that a connection leads us to: creation, login, a call, a renewal, another call, deletion. Resolves with
 * the last page of the login. The browser stays with the servers of the test: where else it goes is not our doing.
 */
async function liveThrough(pb: TestPatchbay, id: string): Promise<Page | undefined> {
  const { json } = await put(pb, id, { mcpUrl: rig.server.mcpUrl });
  const { setupUrl } = json.status as { setupUrl?: string };
  let page: Page | undefined;
  if (setupUrl) {
    const browser = openBrowser();
    page = await browser.submit(await browser.get(setupUrl));
    for (;;) {
      const next = browser.next(page);
      if (next === undefined || new URL(next).hostname !== '127.0.0.1') break;
      page = await browser.follow(page);
    }
  }
  await mcp(pb, id, rpc());
  rig.server.book.expireAccessTokens();
  await mcp(pb, id, rpc());
  await pb.request(`/connect/default/${id}`, { method: 'DELETE' });
  return page;
}

/** Makes a field of one of the documents lead to `url`. */
function lead(document: 'protectedResource' | 'metadata', field: string, url: string): void {
  rig.server.heal();
  const value = field === 'authorization_servers' ? [url] : url;
  rig.server.behaviour[document].document = { [field]: value };
}

const fields = (['protectedResource', 'metadata'] as const).flatMap((document) =>
  addressFields[document].map((field) => [document, field] as const),
);

/** Those whose address we go to ourselves. */
const followed = ['authorization_servers', 'token_endpoint', 'registration_endpoint', 'revocation_endpoint'];

describe('an address inside the network', () => {
  it.each(fields)('in %s as %s is never connected to', async (document, field) => {
    const pb = await start('127.0.0.1');
    for (const [i, url] of [`http://127.0.0.2:${inside.port}/x`, ...insideUrls()].entries()) {
      lead(document, field, url);
      await liveThrough(pb, `c${i}`);
      expect(inside.connections(), url).toBe(0);
    }
  });

  it.each(fields.filter(([, field]) => followed.includes(field)))(
    'in %s as %s is connected to once the operator has allowed it',
    async (document, field) => {
      const pb = await start('127.0.0.1,127.0.0.2,inside.example');
      let before = 0;
      for (const [i, url] of insideUrls().entries()) {
        lead(document, field, url);
        await liveThrough(pb, `c${i}`);
        expect(inside.connections(), url).toBeGreaterThan(before);
        before = inside.connections();
      }
    },
  );

  it('in the challenge is never connected to', async () => {
    const pb = await start('127.0.0.1');
    for (const [i, url] of insideUrls().entries()) {
      rig.server.behaviour.mcp.challenge = { resourceMetadata: url };
      await liveThrough(pb, `c${i}`);
      expect(inside.connections(), url).toBe(0);
    }
  });

  it('is not connected to when the documents change after the login began', async () => {
    const pb = await start('127.0.0.1');
    const { json } = await put(pb, 'c', { mcpUrl: rig.server.mcpUrl });
    for (const url of insideUrls()) {
      lead('metadata', 'token_endpoint', url);
      const browser = openBrowser();
      const opened = await browser.get((json.status as { setupUrl: string }).setupUrl);
      const answered = await browser.follow(await browser.submit(opened));
      expect((await browser.follow(answered)).text).toContain('The login did not work');
      expect(inside.connections(), url).toBe(0);
    }
    expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });
  });

  it.each([
    'https://169.254.169.254/latest/meta-data',
    'https://metadata.example/',
    'https://[fd00:ec2::254]/',
  ])('is refused whatever the operator allows if it is one of cloud metadata: %s', async (url) => {
    const pb = await start('true');
    lead('metadata', 'token_endpoint', url);
    const page = await liveThrough(pb, 'c');
    expect(page?.status).toBe(502);
    expect(page?.text).toContain('is a link-local or metadata address');
  });
});

describe('a redirect', () => {
  // To a server that may be reached: only the rule against redirects keeps the request from it.
  it.each(
    (['protectedResource', 'metadata', 'registration', 'token', 'revocation'] as const).flatMap((endpoint) =>
      [302, 307, 308].map((status) => [endpoint, status] as const),
    ),
  )('at %s with %d is not followed', async (endpoint, status) => {
    const pb = await start('127.0.0.1');
    const elsewhere = await startUpstream((_, response) => void response.writeHead(404).end());
    try {
      rig.server.behaviour.faults[endpoint] = redirect(elsewhere.url, status);
      await liveThrough(pb, 'c');
      expect(rig.server.requestsTo(endpoint).length).toBeGreaterThan(0);
      expect(elsewhere.received).toEqual([]);
    } finally {
      await elsewhere.stop();
    }
  });

  it('of a renewal is not followed, on the same server neither, and does not end the grant', async () => {
    const pb = await start('127.0.0.1');
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.expireAccessTokens();
    rig.server.behaviour.faults.token = [redirect('/token')];
    expect((await mcp(pb, 'c', rpc())).status).toBe(502);
    expect(refreshes(rig.server).length).toBe(1);

    rig.clock.advance(5 * 60_000);
    await expectCallWorks(pb, 'c');
    expect(refreshes(rig.server).length).toBe(2);
  });
});

describe('the query of an upstream’s URL', () => {
  it.each(['with metadata', 'as of 2025-03-26'])('goes to the upstream alone, %s', async (how) => {
    const pb = await start('127.0.0.1');
    if (how !== 'with metadata') {
      rig.server.behaviour.mcp.challenge = undefined;
      rig.server.behaviour.protectedResource.at = 'none';
      rig.server.behaviour.metadata.at = 'none';
      rig.server.behaviour.authorize.iss = { absent: true };
    }
    const key = 'sentinel-query-key';
    await connectByLogin(pb, 'c', `${rig.server.mcpUrl}?api_key=${key}`);
    await expectCallWorks(pb, 'c');
    rig.server.book.expireAccessTokens();
    await expectCallWorks(pb, 'c');
    await pb.request('/connect/default/c', { method: 'DELETE' });

    const { requests } = rig.server;
    const others = requests.filter(({ endpoint }) => endpoint !== 'mcp');
    expect(others.filter((request) => JSON.stringify(request).includes(key))).toEqual([]);
    expect(others.some(({ url }) => url.pathname.startsWith('/.well-known/'))).toBe(true);
    const calls = requests.filter(({ endpoint }) => endpoint === 'mcp');
    expect(calls.every(({ url }) => url.searchParams.get('api_key') === key)).toBe(true);
  });
});
