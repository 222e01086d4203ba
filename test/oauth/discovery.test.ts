import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Answer, put, stored, untilState } from '../fixtures/fault.ts';
import { followLogin } from '../fixtures/oauth/browser.ts';
import { answer, hang, html, huge, reset } from '../fixtures/oauth/faults.ts';
import {
  type FaultyAuthorizationServer,
  startFaultyAuthorizationServer,
} from '../fixtures/oauth/faulty-authorization-server.ts';
import {
  awaitLogin,
  connectByLogin,
  expectCallWorks,
  type OAuthRig,
  setUpOAuth,
  tokenRequests,
} from '../fixtures/oauth/rig.ts';
import type { TestPatchbay } from '../fixtures/patchbay.ts';
import { sendJson, startUpstream } from '../fixtures/upstream.ts';

const quick = { healMinMs: 20, healMaxMs: 100, healSweepMs: 50, fetchMs: 1_000 };

let rig: OAuthRig;
let pb: TestPatchbay;
async function setUp(options: { issuerPath?: string } = {}): Promise<void> {
  rig = await setUpOAuth(options);
  pb = await rig.start({ limits: quick });
}
afterEach(() => rig.stop());

/** The well-known documents that were asked for, in order, each once. */
function documentsAsked(server: FaultyAuthorizationServer): string[] {
  const paths = server.requests.map(({ url }) => url.pathname);
  return [...new Set(paths.filter((path) => path.includes('/.well-known/') && !path.endsWith('mcp-config')))];
}

/** Creates `c` and expects that no login is offered. */
async function expectNoLogin(message: string | RegExp): Promise<Answer> {
  const created = await put(pb, 'c', { mcpUrl: rig.server.mcpUrl });
  expect(created.json.status).toEqual({ state: 'error', message: expect.stringMatching(message) });
  return created;
}

const resourcePath = '/.well-known/oauth-protected-resource';

describe('protected resource metadata (RFC 9728)', () => {
  beforeEach(() => setUp());

  it('is read where the challenge says', async () => {
    const { server } = rig;
    const elsewhere = await startUpstream((_, response) =>
      sendJson(response, 200, { resource: server.mcpUrl, authorization_servers: [server.issuer] }),
    );
    try {
      server.behaviour.protectedResource.at = 'none';
      server.behaviour.mcp.challenge = { resourceMetadata: new URL('/any/place', elsewhere.url).href };
      await connectByLogin(pb, 'c', server.mcpUrl);
      await expectCallWorks(pb, 'c');
      expect(elsewhere.received.map(({ path }) => path)).toContain('/any/place');
      expect(documentsAsked(server).some((path) => path.startsWith(resourcePath))).toBe(false);
    } finally {
      await elsewhere.stop();
    }
  });

  it.each([
    ['below the path of the endpoint', 'path', [`${resourcePath}/mcp`]],
    ['at the root', 'root', [`${resourcePath}/mcp`, resourcePath]],
  ] as const)('is read %s where the challenge does not say', async (_, at, asked) => {
    rig.server.behaviour.mcp.challenge = {};
    rig.server.behaviour.protectedResource.at = at;
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    await expectCallWorks(pb, 'c');
    expect(documentsAsked(rig.server).filter((path) => path.startsWith(resourcePath))).toEqual(asked);
  });

  it('is read after a 401 without any challenge', async () => {
    rig.server.behaviour.mcp.challenge = undefined;
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    await expectCallWorks(pb, 'c');
  });

  it('may name an authorization server of another origin', async () => {
    const other = await startFaultyAuthorizationServer();
    try {
      const { behaviour, mcpUrl } = rig.server;
      behaviour.protectedResource.document = { authorization_servers: [other.issuer] };
      behaviour.mcp.grantOf = (token) => other.book.grantOf(token);
      await connectByLogin(pb, 'c', mcpUrl);
      await expectCallWorks(pb, 'c');
      expect(tokenRequests(other, 'authorization_code')[0]?.get('resource')).toBe(mcpUrl);
      expect(rig.server.requestsTo('token')).toEqual([]);
    } finally {
      await other.close();
    }
  });

  it('gives the resource indicator as it is written there', async () => {
    const { behaviour, mcpUrl, book } = rig.server;
    const resource = `${new URL(mcpUrl).origin}/`;
    behaviour.protectedResource.document = { resource };
    behaviour.mcp.grantOf = (token) => {
      const grant = book.grantOf(token);
      return grant?.resource === resource ? { ...grant, resource: mcpUrl } : undefined;
    };
    await connectByLogin(pb, 'c', mcpUrl);
    await expectCallWorks(pb, 'c');
    expect(rig.server.requestsTo('authorize')[0]?.url.searchParams.get('resource')).toBe(resource);
  });

  it.each(['https://elsewhere.example/mcp', 'http://127.0.0.1:1/mcp'])(
    'is refused when it is that of another resource: %s',
    async (resource) => {
      rig.server.behaviour.protectedResource.document = { resource };
      await expectNoLogin(/^upstream refused the credentials \(401\), and its metadata is that of another/);
    },
  );

  it.each(['not a URL', undefined])('counts as missing when its resource is %s', async (resource) => {
    rig.server.behaviour.protectedResource.document = {
      resource,
      authorization_servers: ['https://x.example'],
    };
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    await expectCallWorks(pb, 'c');
    expect(rig.server.requestsTo('authorize')[0]?.url.searchParams.has('resource')).toBe(false);
  });
});

describe('the scope that is asked for', () => {
  beforeEach(() => setUp());

  const scopeAsked = () => rig.server.requestsTo('authorize')[0]?.url.searchParams.get('scope');

  it.each([
    ['that of the challenge', { challenge: 'one two', metadata: ['three'] }, 'one two'],
    ['those of the metadata', { challenge: undefined, metadata: ['three', 'four'] }, 'three four'],
    ['none', { challenge: undefined, metadata: undefined }, null],
  ])('is %s', async (_, { challenge, metadata }, expected) => {
    const { behaviour } = rig.server;
    if (challenge) behaviour.mcp.challenge = { ...behaviour.mcp.challenge, scope: challenge };
    behaviour.protectedResource.document = { scopes_supported: metadata };
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    expect(scopeAsked()).toBe(expected);
  });
});

describe('metadata of the authorization server (RFC 8414, OpenID Connect Discovery)', () => {
  it.each([
    ['oauth', '', ['oauth-authorization-server']],
    ['openid', '', ['oauth-authorization-server', 'openid-configuration']],
    ['oauth', '/tenant', ['oauth-authorization-server/tenant']],
    ['openid', '/tenant', ['oauth-authorization-server/tenant', 'openid-configuration/tenant']],
    [
      'openid-appended',
      '/tenant',
      ['oauth-authorization-server/tenant', 'openid-configuration/tenant', 'openid-configuration'],
    ],
  ] as const)(
    'is found as %s of the issuer path "%s", in the order of the specification',
    async (at, issuerPath, names) => {
      await setUp({ issuerPath });
      rig.server.behaviour.metadata.at = at;
      await connectByLogin(pb, 'c', rig.server.mcpUrl);
      await expectCallWorks(pb, 'c');
      const asked = documentsAsked(rig.server).filter((path) => !path.startsWith(resourcePath));
      expect(asked.map((path) => path.replace(/^.*\/\.well-known\//, ''))).toEqual(names);
    },
  );

  it.each([
    ['names another issuer', { issuer: 'https://evil.example' }, 'names another issuer'],
    ['names no issuer', { issuer: undefined }, 'malformed'],
    ['does not say that it knows PKCE', { code_challenge_methods_supported: undefined }, 'PKCE with S256'],
    ['knows only plain PKCE', { code_challenge_methods_supported: ['plain'] }, 'PKCE with S256'],
    ['knows no PKCE method', { code_challenge_methods_supported: [] }, 'PKCE with S256'],
    ['names no token endpoint', { token_endpoint: undefined }, 'malformed'],
    ['gives numbers for addresses', { authorization_endpoint: 7 }, 'malformed'],
  ])('is refused when it %s', async (_, document, message) => {
    await setUp();
    rig.server.behaviour.metadata.document = document;
    await expectNoLogin(`upstream refused the credentials \\(401\\), and its .*${message}`);
    expect(rig.server.requestsTo('registration')).toEqual([]);
  });

  // CVE-2025-6514.
  it.each(
    ['authorization_endpoint', 'token_endpoint', 'registration_endpoint', 'revocation_endpoint'].flatMap(
      (field) =>
        ['javascript:alert(1)//', 'data:text/html,x', 'file:///etc/passwd', 'http://as.example/x'].map(
          (url) => [field, url],
        ),
    ),
  )('is refused when its %s is %s', async (field, url) => {
    await setUp();
    rig.server.behaviour.metadata.document = { [field as string]: url };
    const { text } = await expectNoLogin('^upstream refused the credentials \\(401\\), and ');
    expect(text).not.toContain(url);
  });

  it('is needed where the resource names its server', async () => {
    await setUp();
    rig.server.behaviour.metadata.at = 'none';
    await expectNoLogin('publishes no metadata');
    expect(rig.server.requestsTo('registration')).toEqual([]);
  });
});

describe('a server of revision 2025-03-26', () => {
  beforeEach(async () => {
    await setUp();
    rig.server.behaviour.protectedResource.at = 'none';
    rig.server.behaviour.mcp.challenge = undefined;
  });

  it('may publish the metadata of its authorization server alone', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    await expectCallWorks(pb, 'c');
  });

  it('may publish nothing: its endpoints have fixed paths', async () => {
    rig.server.behaviour.metadata.at = 'none';
    rig.server.behaviour.authorize.iss = { absent: true };
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    await expectCallWorks(pb, 'c');
    rig.server.book.expireAccessTokens();
    await expectCallWorks(pb, 'c');
  });

  it('is no login if it registers no client either: any API with keys of its own answers 401', async () => {
    rig.server.behaviour.metadata.at = 'none';
    rig.server.behaviour.registration.open = false;
    await expectNoLogin(/^upstream refused the credentials \(401\)$/);
  });
});

describe('a search for the login that fails', () => {
  beforeEach(() => setUp());

  it.each(['protectedResource', 'metadata'] as const)(
    'at %s with pages, broken JSON or endless answers leaves an error and no login',
    async (endpoint) => {
      for (const fault of [
        html(),
        answer(200, '{"resource":', { 'content-type': 'application/json' }),
        answer(200, ['no', 'object']),
        huge(4 * 1024 * 1024),
      ]) {
        rig.server.behaviour.faults = { [endpoint]: fault };
        // The 2025-03-26 fallback is another way to a login: not here.
        if (endpoint === 'protectedResource') rig.server.behaviour.metadata.at = 'none';
        rig.server.behaviour.registration.open = false;
        await expectNoLogin('^upstream refused the credentials \\(401\\)');
        await pb.request('/connect/default/c', { method: 'DELETE' });
      }
    },
  );

  it.each(
    (['protectedResource', 'metadata'] as const).flatMap((endpoint) =>
      (
        [
          ['500', answer(500)],
          ['503', answer(503)],
          ['429', answer(429)],
          ['a reset', reset],
          ['silence', hang],
        ] as const
      ).map(([name, fault]) => [endpoint, name, fault] as const),
    ),
  )('at %s with %s is no verdict, and is mended by itself', async (endpoint, _, fault) => {
    const { behaviour } = rig.server;
    behaviour.faults[endpoint] = fault;
    await expectNoLogin('^upstream refused the credentials \\(401\\), and ');
    // Nothing was guessed: neither a login elsewhere nor a client.
    expect(rig.server.requestsTo('registration')).toEqual([]);

    rig.server.heal();
    await untilState(pb, 'c', 'auth_required');
    const { json } = await put(pb, 'c', {});
    await followLogin((json.status as { setupUrl: string }).setupUrl);
    await untilState(pb, 'c', 'connected');
    await expectCallWorks(pb, 'c');
  });

  it('does not forget where the login is: an address of a while ago is looked up anew', async () => {
    const setupUrl = await awaitLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.behaviour.metadata.document = { authorization_endpoint: 'javascript:alert(1)' };
    const steps = await followLogin(setupUrl);
    expect(steps.at(-1)?.status).toBe(422);
    expect(steps.at(-1)?.text).toContain('The login cannot start');
    expect(steps.map(({ text }) => text).join()).not.toContain('javascript:');
    expect(await stored(pb, 'c')).toEqual({ state: 'auth_required' });

    rig.server.heal();
    await followLogin(setupUrl);
    await untilState(pb, 'c', 'connected');
  });
});
