import { beforeAll, describe, expect, test } from 'vitest';
import { legacyServer, modernServer, sendJson, type Upstream } from '../fixtures/upstream.ts';
import { refusal, useContract } from './harness.ts';

const contract = useContract({ limits: { probeMs: 1_000, discoverMs: 400 } });
let upstream: Upstream;
beforeAll(async () => {
  upstream = await contract.upstream(legacyServer({ sessions: true }).handler);
});

describe('POST /{namespace}', () => {
  test('answers 201 with a probed connection under a readable, generated id', async () => {
    const before = Date.now();
    const answer = await contract.request('/connect/default', {
      method: 'POST',
      json: { mcpUrl: upstream.url },
    });
    expect(answer.status).toBe(201);
    const { connectionId, createdAt, ...rest } = answer.body as { connectionId: string; createdAt: string };
    expect(connectionId).toMatch(/^[a-z]+-[a-z]+-[0-9A-Za-z]{4}$/);
    expect(Date.parse(createdAt)).toBeGreaterThanOrEqual(before);
    expect(Date.parse(createdAt)).toBeLessThanOrEqual(Date.now());
    expect(rest).toEqual({
      name: connectionId,
      transport: 'http',
      mcpUrl: upstream.url,
      metadata: null,
      iconUrl: null,
      status: { state: 'connected' },
      serverInfo: { name: 'legacy-fixture', version: '1.0.0' },
    });
  });

  test('gives each connection an id of its own', async () => {
    const made = await Promise.all(
      Array.from({ length: 5 }, () => contract.sdk().connections.create('default', { mcpUrl: upstream.url })),
    );
    expect(new Set(made.map(({ connectionId }) => connectionId)).size).toBe(5);
  });

  test('keeps name and metadata as they were given', async () => {
    const metadata = {
      userId: 'u1',
      'a.b': 'dotted',
      count: 3,
      nested: { list: [1, null, 'x'] },
      emoji: '🐙',
    };
    const made = await contract
      .sdk()
      .connections.create('default', { mcpUrl: upstream.url, name: 'Müller’s notes 🗒️', metadata });
    expect(made).toMatchObject({ name: 'Müller’s notes 🗒️', metadata });
    const stored = await contract.sdk().connections.get(made.connectionId, { namespace: 'default' });
    expect(stored).toEqual(made);
  });

  test('stores the URL as its href without a fragment', async () => {
    const { connections } = contract.sdk();
    const made = await connections.create('default', {
      mcpUrl: `HTTP://127.0.0.1:${upstream.port}/x/../mcp?b=2&a=1#part`,
    });
    expect(made.mcpUrl).toBe(`${upstream.url}?b=2&a=1`);
  });

  test('learns serverInfo of a modern upstream', async () => {
    const modern = await contract.upstream(modernServer().handler);
    const made = await contract.sdk().connections.create('default', { mcpUrl: modern.url });
    expect(made.status).toEqual({ state: 'connected' });
    expect(made.serverInfo).toEqual({ name: 'modern-fixture', version: '2.0.0' });
  });

  test('keeps of serverInfo what the contract has, and takes the icon from it', async () => {
    const { handler } = legacyServer();
    const icons = [
      {
        src: 'https://example.com/icon.png',
        mimeType: 'image/png',
        sizes: ['48x48'],
        theme: 'light',
        extra: 1,
      },
    ];
    const decorated = await contract.upstream((request, response) => {
      if (request.message?.method !== 'initialize') return handler(request, response);
      const { id, params } = request.message as { id: string; params: { protocolVersion: string } };
      const serverInfo = { name: 'n', version: '1', title: 'T', description: 'D', unknown: 1, icons };
      const result = { protocolVersion: params.protocolVersion, capabilities: {}, serverInfo };
      sendJson(response, 200, { jsonrpc: '2.0', id, result });
    });
    const made = await contract.sdk().connections.create('default', { mcpUrl: decorated.url });
    const { extra: _, ...icon } = icons[0] as (typeof icons)[0];
    expect(made.serverInfo).toEqual({ name: 'n', version: '1', title: 'T', description: 'D', icons: [icon] });
    expect(made.iconUrl).toBe('https://example.com/icon.png');
  });

  test('answers 201 with an error state when the upstream never answers', async () => {
    const hanging = await contract.upstream(() => {});
    const answer = await contract.request('/default', { method: 'POST', json: { mcpUrl: hanging.url } });
    expect(answer).toMatchObject({
      status: 201,
      body: { status: { state: 'error', message: 'upstream did not answer in time' } },
    });
  });

  test('answers 404 for a namespace that does not exist', async () => {
    const refused = await refusal(contract.sdk().connections.create('nowhere', { mcpUrl: upstream.url }));
    expect(refused).toMatchObject({
      status: 404,
      body: { message: 'Namespace not found or access denied' },
    });
  });
});

describe('headers', () => {
  const secret = 'Bearer hunter2-very-secret';
  const headers = { Authorization: secret, 'X-Tenant': 'acme' };

  test('go with every upstream request, and come back in no answer, log line or row', async () => {
    const own = await contract.upstream(legacyServer({ sessions: true }).handler);
    const { connections } = contract.sdk();
    const made = await connections.create('default', { mcpUrl: own.url, headers });
    const { connectionId } = made;
    await connections.tools.list(connectionId, { namespace: 'default' });
    expect(own.received.length).toBeGreaterThan(2);
    for (const received of own.received) {
      expect(received.headers).toMatchObject({ authorization: secret, 'x-tenant': 'acme' });
    }
    // The question beside the probe is for anyone's ears.
    expect(own.wellKnown.map(({ path }) => path)).toEqual(['/.well-known/mcp-config']);
    expect(JSON.stringify(own.wellKnown)).not.toMatch(/hunter2|x-tenant/i);

    const answers = [
      made,
      await connections.get(connectionId, { namespace: 'default' }),
      await connections.set(connectionId, { namespace: 'default', headers }),
      await connections.list('default'),
    ];
    expect(JSON.stringify(answers)).not.toMatch(/hunter2|x-tenant/i);
    expect(contract.pb.logs.join('')).not.toMatch(/hunter2/);
    const rows = await contract.pb.store.db.selectFrom('connections').selectAll().execute();
    expect(JSON.stringify(rows)).not.toMatch(/hunter2/);
  });

  test('do not show in the message of a failing upstream, and neither does the query', async () => {
    const refusing = await contract.upstream((_request, response) =>
      sendJson(response, 401, { got: secret }),
    );
    const made = await contract
      .sdk()
      .connections.create('default', { mcpUrl: `${refusing.url}?token=query-secret`, headers });
    expect(made.status).toEqual({ state: 'error', message: 'upstream refused the credentials (401)' });
  });

  test('survive a restart', async () => {
    const own = await contract.upstream(legacyServer().handler);
    const { connectionId } = await contract.sdk().connections.create('default', { mcpUrl: own.url, headers });
    await contract.pb.restart();
    own.received.length = 0;
    await contract.sdk().connections.tools.list(connectionId, { namespace: 'default' });
    expect(own.received.at(-1)?.headers).toMatchObject({ authorization: secret });
  });
});

describe('what is refused', () => {
  const url = 'http://127.0.0.1:9/mcp';
  const refused: [what: string, field: string, json: unknown][] = [
    ['a body without mcpUrl', 'mcpUrl', {}],
    ['an unknown key', 'colour', { mcpUrl: url, colour: 'red' }],
    ['a key in the wrong case', 'mcpURL', { mcpURL: url }],
    ['an unknown key within mock', 'mock', { mcpUrl: url, mock: { enabled: false, extra: 1 } }],
    ['an mcpUrl that is none', 'mcpUrl', { mcpUrl: 'not a url' }],
    ['an mcpUrl of another scheme', 'mcpUrl', { mcpUrl: 'ftp://127.0.0.1/mcp' }],
    ['a file as mcpUrl', 'mcpUrl', { mcpUrl: 'file:///etc/passwd' }],
    ['an mcpUrl with a password in it', 'mcpUrl', { mcpUrl: 'http://me:pass-word@127.0.0.1/mcp' }],
    ['an empty name', 'name', { mcpUrl: url, name: '' }],
    ['a name over 255 characters', 'name', { mcpUrl: url, name: 'n'.repeat(256) }],
    ['metadata that is a list', 'metadata', { mcpUrl: url, metadata: ['x'] }],
    ['metadata that is a string', 'metadata', { mcpUrl: url, metadata: 'x' }],
    ['a header value that is no string', 'headers', { mcpUrl: url, headers: { 'X-Count': 1 } }],
    ['a header value with a line break', 'headers', { mcpUrl: url, headers: { 'X-A': 'a\r\nX-B: b' } }],
    ['a header name with a space', 'headers', { mcpUrl: url, headers: { 'X A': 'a' } }],
    ['a transport that does not exist', 'transport', { mcpUrl: url, transport: 'pigeon' }],
    ['an uplink with an address', 'mcpUrl', { transport: 'uplink', mcpUrl: url }],
    ['an uplink with headers', 'headers', { transport: 'uplink', headers: { 'X-A': 'a' } }],
    ['a registry server, not supported yet', 'server', { server: 'acme/notes' }],
    ['a mock, not supported yet', 'mock', { mcpUrl: url, mock: { enabled: true, scenario: 's' } }],
    [
      'a module, not supported yet',
      'source',
      { source: { kind: 'module', entrypoint: 'a.ts', sourceFiles: [{ path: 'a.ts', contents: '' }] } },
    ],
  ];

  test.each(refused)('%s: 400 validation_error that names %s', async (what, field, json) => {
    const answer = await contract.request('/default', { method: 'POST', json });
    expect(answer.status).toBe(400);
    const { error, message } = answer.body as { error: string; message: string };
    expect(error).toBe('validation_error');
    expect(message).toContain(field);
    expect(message).not.toContain('pass-word');
    if (what.includes('not supported yet')) expect(message).toMatch(/not supported/);
  });

  test('no body at all: 400 that names mcpUrl', async () => {
    const answer = await contract.request('/default', { method: 'POST' });
    expect(answer).toMatchObject({ status: 400, body: { message: expect.stringContaining('mcpUrl') } });
  });

  test('a body that is no JSON, no object, or of another type: 400 and 415', async () => {
    const headers = { 'content-type': 'application/json' };
    for (const body of ['{', 'null', '[]', '"x"', '7']) {
      const answer = await contract.request('/default', { method: 'POST', body, headers });
      expect([body, answer.status]).toEqual([body, 400]);
    }
    for (const type of ['text/plain', 'application/x-www-form-urlencoded']) {
      const answer = await contract.request('/default', {
        method: 'POST',
        body: '{}',
        headers: { 'content-type': type },
      });
      expect([type, answer.status]).toEqual([type, 415]);
    }
  });

  test('a body over the limit: 413', async () => {
    const json = { mcpUrl: url, name: 'n'.repeat(1024 * 1024) };
    const answer = await contract.request('/default', { method: 'POST', json });
    expect(answer).toMatchObject({ status: 413, body: { error: 'payload_too_large' } });
  });

  test('nothing of what is refused is stored', async () => {
    await contract.sdk().namespaces.set('untouched');
    for (const [, , json] of refused) await contract.request('/untouched', { method: 'POST', json });
    expect(await contract.sdk().connections.list('untouched')).toEqual({ connections: [], nextCursor: null });
  });

  test('a mock that is not enabled is no mock, and not refused', async () => {
    const made = await contract
      .sdk()
      .connections.create('default', { mcpUrl: upstream.url, mock: { enabled: false } });
    expect(made).not.toHaveProperty('mock');
    expect(made.status).toEqual({ state: 'connected' });
  });
});
