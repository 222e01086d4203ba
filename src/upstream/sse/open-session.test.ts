import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { echoed, echoRequest, type SseRig, startSseRig } from '../../../test/fixtures/sse-rig.ts';
import { accept, type SseOptions } from '../../../test/fixtures/sse-server.ts';
import { until } from '../../../test/fixtures/until.ts';

let rig: SseRig;
beforeEach(async () => {
  rig = await startSseRig();
});
afterEach(() => rig.stop());

describe('opening', () => {
  test('asks with the credentials, introduces its client, and tells what was agreed on', async () => {
    const session = await rig.open({}, rig.target(['authorization', 'Bearer key']));
    expect(session.revision).toBe('2024-11-05');
    expect(session.result).toMatchObject({ serverInfo: { name: 'sse-fixture' } });
    const [get, initialize, initialized] = rig.server.received;
    expect(get).toMatchObject({ method: 'GET', path: '/sse', headers: { accept: 'text/event-stream' } });
    expect(initialize?.message).toMatchObject({
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'patchbay' } },
    });
    expect(initialize?.headers).not.toHaveProperty('mcp-protocol-version');
    expect(initialized?.message).toEqual({ jsonrpc: '2.0', method: 'notifications/initialized' });
    expect(initialized?.headers).toHaveProperty('mcp-protocol-version', '2024-11-05');
    for (const { headers } of rig.server.received) expect(headers.authorization).toBe('Bearer key');
  });

  const endpoints: [what: string, data: string][] = [
    ['a path', '/message?sessionId='],
    ['relative', 'message?sessionId='],
    ['a whole URL', 'http://127.0.0.1:PORT/message?sessionId='],
    ['with a fragment', '/message?sessionId=ID#top'],
  ];
  test.each(endpoints)('takes an endpoint that is %s', async (_what, data) => {
    rig.server.bend({
      greeting: (id) => {
        const address = data.replace('PORT', String(rig.server.port));
        const named = address.includes('ID#') ? address.replace('ID', id) : address + id;
        return `: welcome\n\nevent: endpoint\ndata: ${named}\n\n`;
      },
    });
    expect(await (await rig.open()).request(echoRequest())).toEqual(echoed('hello'));
  });

  const refused: [what: string, message: RegExp, greeting: string][] = [
    ['at another origin', /another origin/, 'event: endpoint\ndata: http://127.0.0.1:1/message\n\n'],
    [
      'at another host by its path',
      /another origin/,
      'event: endpoint\ndata: //elsewhere.example/message\n\n',
    ],
    ['under another scheme', /another origin/, 'event: endpoint\ndata: https://127.0.0.1/message\n\n'],
    ['that is no address', /another origin|no usable URL/, 'event: endpoint\ndata: javascript:alert(1)\n\n'],
    ['that is not one', /no usable URL/, 'event: endpoint\ndata: http://[::\n\n'],
    ['that is too long', /no usable URL/, `event: endpoint\ndata: /${'x'.repeat(9_000)}\n\n`],
    ['only after a message', /without naming/, 'data: {}\n\nevent: endpoint\ndata: /message\n\n'],
    ['never, in an event without end', /more than/, `event: endpoint\ndata: ${'x'.repeat(100_000)}`],
    ['never', /in time/, ': nothing\n\n'],
  ];
  test.each(refused)('refuses an endpoint %s, and sends nothing there', async (_what, message, greeting) => {
    rig.server.bend({ greeting: () => greeting });
    await expect(
      rig.open({ sseEndpointMs: greeting === ': nothing\n\n' ? 300 : 5_000 }),
    ).rejects.toMatchObject({
      name: 'UpstreamFault',
      message: expect.stringMatching(message),
    });
    expect(rig.server.received.map(({ method }) => method)).toEqual(['GET']);
    await until(() => rig.server.clients.size === 0);
  });

  const notOpened: [what: string, fault: Record<string, unknown>, before: SseOptions['before']][] = [
    [
      '404',
      { kind: 'wrong_answer', status: 404, message: 'upstream answered 404 at /sse' },
      (_request, response) => {
        response.writeHead(404).end();
        return true;
      },
    ],
    [
      '401',
      { kind: 'refused_credentials', status: 401, challenge: 'Bearer' },
      (_request, response) => {
        response.writeHead(401, { 'www-authenticate': 'Bearer' }).end();
        return true;
      },
    ],
    [
      '429',
      { kind: 'busy' },
      (_request, response) => {
        response.writeHead(429).end();
        return true;
      },
    ],
    [
      '503',
      { kind: 'server_error', status: 503 },
      (_request, response) => {
        response.writeHead(503).end();
        return true;
      },
    ],
    [
      'a page',
      { kind: 'wrong_answer', message: 'not an MCP server: answered text/html' },
      (_request, response) => {
        response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Hi</h1>');
        return true;
      },
    ],
    [
      'a redirect elsewhere',
      {
        kind: 'wrong_answer',
        message: expect.stringMatching(/redirects \(307\) to http:\/\/127\.0\.0\.1:1\/sse/),
      },
      (_request, response) => {
        response.writeHead(307, { location: 'http://127.0.0.1:1/sse' }).end();
        return true;
      },
    ],
    [
      'the end of the stream',
      { kind: 'cut_off' },
      (_request, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).end(': bye\n\n');
        return true;
      },
    ],
    [
      'a closed line',
      { kind: 'cut_off' },
      (_request, response) => {
        response.destroy();
        return true;
      },
    ],
    ['silence', { kind: 'timeout' }, () => true],
  ];
  test.each(notOpened)('fails if the GET is answered with %s', async (_what, fault, before) => {
    rig.server.bend({ before: before as NonNullable<typeof before> });
    const limits = fault.kind === 'timeout' ? { sseEndpointMs: 300 } : {};
    await expect(rig.open(limits)).rejects.toMatchObject({ name: 'UpstreamFault', ...fault });
  });

  test('follows redirects on its own origin, and finds a relative endpoint from there', async () => {
    rig.server.bend({
      before: (request, response) => {
        if (request.path === '/sse') response.writeHead(307, { location: '/moved/sse' }).end();
        else if (request.path === '/moved/sse') {
          request.path = '/sse';
          return false;
        } else if (request.path.startsWith('/moved/message')) {
          response.writeHead(308, { location: request.path.replace('/moved', '') }).end();
        } else return false;
        return true;
      },
      greeting: (id) => `event: endpoint\ndata: message?sessionId=${id}\n\n`,
    });
    expect(await (await rig.open()).request(echoRequest())).toEqual(echoed('hello'));
  });

  test('ends with its deadline, and leaves no stream behind', async () => {
    rig.server.bend({
      on: ({ response }) => {
        accept(response);
        return true;
      },
    });
    await expect(rig.open({}, rig.target(), AbortSignal.timeout(100))).rejects.toMatchObject({
      kind: 'timeout',
    });
    await until(() => rig.server.clients.size === 0);
    expect(rig.sent('notifications/cancelled')).toEqual([]);
  });

  test.each([
    ['an error', { error: { code: -32603, message: 'no' } }, /refused to initialize/],
    ['no revision', { result: {} }, /no protocol revision/],
    ['a modern revision', { result: { protocolVersion: '2026-07-28' } }, /no protocol revision/],
    ['neither result nor error', {}, /no JSON-RPC/],
  ])('fails if initialize is answered with %s', async (_what, answer, message) => {
    rig.server.bend({
      on: ({ message: { id, method }, session, response }) => {
        if (method !== 'initialize') return false;
        accept(response);
        session.send({ id, ...answer });
        return true;
      },
    });
    await expect(rig.open()).rejects.toMatchObject({
      kind: 'wrong_answer',
      message: expect.stringMatching(message),
    });
    await until(() => rig.server.clients.size === 0);
  });
});
