import type { LookupAddress } from 'node:dns';
import { beforeEach, describe, expect, test } from 'vitest';
import { readConfig } from '../../src/platform/config.ts';
import { createAddressPolicy } from '../../src/platform/egress/address-policy.ts';
import type { Lookup } from '../../src/platform/egress/dispatcher.ts';
import {
  type Answer,
  connect,
  echoCall,
  mcp,
  portOf,
  put,
  type Rig,
  read,
  rest,
  setUpRig,
  untilState,
} from '../fixtures/fault.ts';
import type { StartOptions, TestPatchbay } from '../fixtures/patchbay.ts';
import { legacyServer, startUpstream, type Upstream } from '../fixtures/upstream.ts';

const healthy = legacyServer().handler;
let rig: Rig;
let up: Upstream;
beforeEach(async () => {
  rig = await setUpRig();
  up = rig.up;
  return rig.stop;
});

function start(allowed: string | undefined, options: StartOptions = {}): Promise<TestPatchbay> {
  const env = allowed === undefined ? {} : { PATCHBAY_ALLOW_PRIVATE_UPSTREAMS: allowed };
  const limits = { connectMs: 1_000, healMinMs: 30, healMaxMs: 100, ...options.limits };
  return rig.start({ ...options, limits, env: { ...env, ...options.env } });
}

const address = (text: string): LookupAddress => ({ address: text, family: text.includes(':') ? 6 : 4 });

/** A resolver of the test's own. */
function resolver(answers: Record<string, string[] | (() => string[])>): Lookup {
  return (host, answer) => {
    const known = answers[host];
    const addresses = typeof known === 'function' ? known() : known;
    if (addresses) answer(null, addresses.map(address));
    else answer(Object.assign(new Error('no such host'), { code: 'ENOTFOUND' }), []);
  };
}

function reasonOf({ status, json }: Answer): string | undefined {
  expect(status).toBe(201);
  expect(json.status).toMatchObject({ state: 'error' });
  return (json.status as { message?: string }).message;
}

function expectRefused({ status, json }: Answer, host?: string): void {
  expect(status).toBe(201);
  expect(json.status, JSON.stringify(json.mcpUrl)).toMatchObject({
    state: 'error',
    message: expect.stringMatching(/^refused: /),
  });
  if (host) expect((json.status as { message: string }).message).toContain(host);
}

describe('with private upstreams forbidden (false)', () => {
  /** All of them reach 127.0.0.1 on this machine, or would try to. */
  const spellings = [
    '127.0.0.1',
    '127.1',
    '127.255.255.254',
    '2130706433',
    '0x7f000001',
    '0x7f.0.0.1',
    '017700000001',
    '0177.0.0.1',
    '0',
    '0.0.0.0',
    '127.0.0.1.',
    '１２７.０.０.１',
    '127。0。0。1',
    '[::1]',
    '[0:0:0:0:0:0:0:1]',
    '[::]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[::127.0.0.1]',
    '[::ffff:0:127.0.0.1]',
    '[64:ff9b::127.0.0.1]',
    '[64:ff9b:1::127.0.0.1]',
    '[2002:7f00:1::]',
    'localhost',
  ];
  test('no spelling of loopback is reached', async () => {
    const pb = await start('false');
    for (const [n, host] of spellings.entries()) {
      const answer = await put(pb, `c${n}`, { mcpUrl: `http://${host}:${up.port}/mcp` });
      // Some never are a URL; none may be a working connection.
      if (answer.status === 400) expect(answer.json.error).toBe('validation_error');
      else expect.soft(reasonOf(answer), host).toMatch(/^refused: /);
    }
    expect(up.received).toEqual([]);
  });

  test('a call to a connection of before is refused with 502, not to be repeated', async () => {
    const pb = await start('true');
    await connect(pb, 'c', up.url);
    await rig.stopInstances();
    const strict = await start('false');
    await put(strict, 'c', { mcpUrl: up.url });
    for (const answer of [await rest(strict, 'c'), await mcp(strict, 'c', echoCall())]) {
      expect(answer.status).toBe(502);
      expect(answer.headers.get('x-should-retry')).toBe('false');
      expect(answer.text).toMatch(/refused: /);
    }
  });
});

test('link-local and metadata addresses are refused whatever is allowed', async () => {
  const hosts = [
    '169.254.169.254',
    '169.254.170.2',
    '0xa9fea9fe',
    '2852039166',
    '[fe80::1]',
    '[::ffff:169.254.169.254]',
    '[::ffff:a9fe:a9fe]',
    '[64:ff9b::169.254.169.254]',
    '[64:ff9b:1::169.254.169.254]',
    '[2002:a9fe:a9fe::]',
    '[::169.254.169.254]',
    '[fd00:ec2::254]',
    '[fd20:ce::254]',
    '100.100.100.200',
    '192.0.0.192',
    'metadata.example',
    'listed.example',
  ];
  const lookup = resolver({
    'metadata.example': ['169.254.169.254'],
    'listed.example': ['fe80::1'],
  });
  for (const allowed of ['true', '0.0.0.0/0,::/0,169.254.169.254,listed.example,fd00:ec2::254']) {
    const pb = await start(allowed, { lookup });
    for (const [n, host] of hosts.entries()) {
      const answer = await put(pb, `c${n}`, { mcpUrl: `http://${host}/latest/meta-data/` });
      expect.soft(reasonOf(answer), `${host} while ${allowed}`).toMatch(/^refused: /);
    }
  }
});

describe('DNS', () => {
  test('a name that resolves to a private address is refused, and the address not told', async () => {
    const lookup = resolver({ 'inside.example': ['127.0.0.1'], 'six.example': ['::ffff:127.0.0.1'] });
    const pb = await start('false', { lookup });
    for (const host of ['inside.example', 'six.example']) {
      const answer = await put(pb, host, { mcpUrl: `http://${host}:${up.port}/mcp` });
      expectRefused(answer, host);
      expect(answer.text).not.toMatch(/127\.0|::ffff/);
    }
    expect(up.received).toEqual([]);
  });

  test('one bad address among good ones refuses the name', async () => {
    const lookup = resolver({
      'mixed.example': ['192.0.2.1', '127.0.0.1'],
      'turned.example': ['127.0.0.1', '10.1.2.3'],
    });
    const pb = await start('127.0.0.1', { lookup });
    expectRefused(await put(pb, 'a', { mcpUrl: `http://mixed.example:${up.port}/mcp` }));
    expectRefused(await put(pb, 'b', { mcpUrl: `http://turned.example:${up.port}/mcp` }));
    expect(up.received).toEqual([]);
  });

  test('a name that is rebound between two connections is judged anew', async () => {
    let answer = ['127.0.0.1'];
    const lookup = resolver({ 'moving.example': () => answer });
    const pb = await start('127.0.0.1', { lookup });
    // Every answer closes its socket, so that every request resolves anew.
    up.handle((request, response) => {
      response.setHeader('connection', 'close');
      return healthy(request, response);
    });
    await connect(pb, 'c', `http://moving.example:${up.port}/mcp`);
    expect((await rest(pb, 'c')).status).toBe(200);
    const seen = up.received.length;

    for (const rebound of ['169.254.169.254', '10.0.0.1', '::1']) {
      answer = [rebound];
      for (const refused of [await rest(pb, 'c'), await mcp(pb, 'c', echoCall())]) {
        expect(refused.status).toBe(502);
        expect(refused.text).toMatch(/refused: \\?"moving\.example/);
      }
    }
    await untilState(pb, 'c', 'error');
    expect(up.received.length).toBe(seen);
    answer = ['127.0.0.1'];
    await untilState(pb, 'c', 'connected');
  });

  test('the address that was judged is the one connected to', async () => {
    let n = 0;
    // Were the name looked up a second time for the connection itself, that would get the other address.
    const lookup = resolver({ 'flapping.example': () => (n++ === 0 ? ['127.0.0.1'] : ['10.0.0.1']) });
    const pb = await start('127.0.0.1', { lookup });
    await put(pb, 'c', { mcpUrl: `http://flapping.example:${up.port}/mcp` });
    expect(up.received.length).toBeGreaterThan(0);
  });

  test('a name without addresses, and one that is unknown, are errors that say so', async () => {
    const pb = await start('true', { lookup: resolver({ 'empty.example': [] }) });
    expectRefused(await put(pb, 'a', { mcpUrl: 'http://empty.example/mcp' }), 'empty.example');
    expect((await put(pb, 'b', { mcpUrl: 'http://unknown.example/mcp' })).json.status).toEqual({
      state: 'error',
      message: 'no such host',
    });
  });
});

describe('redirects', () => {
  test('to a private address by another spelling, port or name are not followed', async () => {
    const inner = await startUpstream(healthy);
    const pb = await start('true', { lookup: resolver({ 'inner.example': ['127.0.0.1'] }) });
    const locations = [
      inner.url,
      `http://localhost:${inner.port}/mcp`,
      `http://inner.example:${inner.port}/mcp`,
      `//127.0.0.1:${inner.port}/mcp`,
      `http://127.0.0.1:${up.port}@127.0.0.1:${inner.port}/mcp`,
      `\\\\127.0.0.1:${inner.port}\\mcp`,
      `https://127.0.0.1:${up.port}/mcp`,
      'file:///etc/hostname',
      'data:application/json,{}',
    ];
    for (const [n, location] of locations.entries()) {
      up.handle((_request, response) => void response.writeHead(307, { location }).end());
      const { status, json } = await put(pb, `c${n}`, { mcpUrl: up.url });
      expect(status).toBe(201);
      expect(json.status, location).toMatchObject({ state: 'error', message: /redirect/ });
    }
    expect(inner.received).toEqual([]);
    await inner.stop();
  });

  test('are judged by a fresh lookup of their own', async () => {
    const answers = [['127.0.0.1'], ['10.0.0.1']];
    const lookup = resolver({ 'hop.example': () => answers.shift() ?? ['10.0.0.1'] });
    const pb = await start('127.0.0.1', { lookup });
    up.handle((_request, response) => {
      response.writeHead(307, { location: '/next', connection: 'close' }).end();
    });
    expectRefused(await put(pb, 'c', { mcpUrl: `http://hop.example:${up.port}/mcp` }), 'hop.example');
    expect(up.received.map(({ path }) => path)).toEqual(['/mcp']);
  });
});

describe('PATCHBAY_ALLOW_PRIVATE_UPSTREAMS', () => {
  /** Whether a connection to `host` works; judged by what arrives, not by what is said. */
  async function reaches(pb: TestPatchbay, host: string): Promise<boolean> {
    const seen = up.received.length;
    const answer = await read(
      await fetch(`http://127.0.0.1:${portOf(pb)}/connect/default`, {
        method: 'POST',
        headers: { authorization: `Bearer ${pb.key}`, 'content-type': 'application/json' },
        body: JSON.stringify({ mcpUrl: `http://${host}:${up.port}/mcp` }),
      }),
    );
    const reached = up.received.length > seen;
    expect(answer.status).toBe(201);
    expect(answer.json.status).toMatchObject({ state: reached ? 'connected' : 'error' });
    return reached;
  }

  const lookup = resolver({ 'svc.internal': ['127.0.0.1'], 'other.internal': ['127.0.0.1'] });

  test.each<{
    allowed: string | undefined;
    env?: Record<string, string>;
    reached: string[];
    refused: string[];
  }>([
    { allowed: 'true', reached: ['127.0.0.1', 'svc.internal'], refused: [] },
    { allowed: 'false', reached: [], refused: ['127.0.0.1', 'svc.internal', 'localhost'] },
    { allowed: undefined, reached: ['127.0.0.1', 'svc.internal'], refused: [] },
    {
      allowed: undefined,
      env: { PATCHBAY_PUBLIC_URL: 'https://patchbay.example' },
      reached: [],
      refused: ['127.0.0.1', 'svc.internal'],
    },
    {
      allowed: undefined,
      env: { PATCHBAY_PUBLIC_URL: 'http://localhost:8787' },
      reached: ['127.0.0.1'],
      refused: [],
    },
    {
      allowed: undefined,
      env: { PATCHBAY_HOST: '0.0.0.0', PATCHBAY_PUBLIC_URL: 'http://127.0.0.1:8787' },
      reached: [],
      refused: ['127.0.0.1'],
    },
    { allowed: 'svc.internal', reached: ['svc.internal'], refused: ['other.internal', '127.0.0.1'] },
    { allowed: 'SVC.internal', reached: ['svc.internal', 'SVC.INTERNAL'], refused: ['other.internal'] },
    {
      allowed: '127.0.0.0/8',
      reached: ['127.0.0.1', 'other.internal', '2130706433', '[::ffff:127.0.0.1]'],
      refused: ['[::1]'],
    },
    { allowed: '127.0.0.1', reached: ['127.0.0.1', 'svc.internal'], refused: ['127.0.0.2'] },
    { allowed: '10.0.0.0/8, fd00::/8', reached: [], refused: ['127.0.0.1', 'svc.internal'] },
    {
      allowed: '127.0.0.1',
      env: { PATCHBAY_PUBLIC_URL: 'https://patchbay.example' },
      reached: ['127.0.0.1'],
      refused: [],
    },
  ])(
    '$allowed with $env reaches $reached and refuses $refused',
    async ({ allowed, env, reached, refused }) => {
      const pb = await start(allowed, { lookup, ...(env ? { env } : {}) });
      for (const host of reached) expect(await reaches(pb, host), host).toBe(true);
      for (const host of refused) expect(await reaches(pb, host), host).toBe(false);
    },
  );

  /** The policy itself, for addresses that no test may send a packet to. */
  const judged = (setting: string | undefined, local: boolean, host: string, given = host): boolean => {
    const { privateUpstreams } = readConfig({ PATCHBAY_ALLOW_PRIVATE_UPSTREAMS: setting });
    try {
      createAddressPolicy(privateUpstreams, local).check(host, given);
      return true;
    } catch {
      return false;
    }
  };
  const privateAddresses = [
    '10.0.0.1',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.0.1',
    '100.64.0.1',
    'fd12::1',
  ];
  const neverPublic = [
    '0.0.0.0',
    '0.1.2.3',
    '192.0.0.8',
    '192.0.2.1',
    '198.18.0.1',
    '198.51.100.1',
    '203.0.113.1',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    '::2',
    '::10.0.0.1',
    '::ffff:10.0.0.1',
    '::ffff:0:10.0.0.1',
    '64:ff9b::10.0.0.1',
    '64:ff9b::8.8.8.8',
    '64:ff9b:1::10.0.0.1',
    '100::1',
    '2001::1',
    '2001:db8::1',
    '2002:a00:1::',
    '3fff::1',
    '5f00::1',
    'fec0::1',
    'ff02::1',
    'fe80::1',
    'fe80::1%eth0',
    '::1',
    '127.0.0.1',
    'not an address',
    '',
  ];

  test.each([...privateAddresses, ...neverPublic])('%s is refused unless allowed', (given) => {
    expect(judged('false', true, 'h.example', given)).toBe(false);
    expect(judged('elsewhere.example', true, 'h.example', given)).toBe(false);
    expect(judged(undefined, false, 'h.example', given)).toBe(false);
  });

  test.each(privateAddresses)(
    '%s is not what unset allows, and is what true and its range allow',
    (given) => {
      expect(judged(undefined, true, given)).toBe(false);
      expect(judged('true', false, given)).toBe(true);
      expect(judged(given, false, given)).toBe(true);
      expect(judged('h.example', false, 'H.Example', given)).toBe(true);
    },
  );

  test('public addresses need no permission', () => {
    for (const given of ['8.8.8.8', '1.1.1.1', '::ffff:8.8.8.8', '2606:4700::1111']) {
      expect(judged('false', false, 'h.example', given)).toBe(true);
    }
  });
});
