import { describe, expect, it } from 'vitest';
import { StandingClock } from '../../test/fixtures/standing-clock.ts';
import { ApiError } from '../platform/errors.ts';
import { defaultLimits, type Limits } from '../platform/limits.ts';
import type { NamespaceLimits } from './namespace-settings.ts';
import type { Principal } from './principal.ts';
import { createQuotas, type Quotas, rateLimitHeaders, type Usage } from './quotas.ts';

const principal = (rootId: string, tokenId: string | null = null) => ({ rootId, tokenId }) as Principal;

function setUp(limits: Partial<Limits>, own: Record<string, NamespaceLimits> = {}) {
  const clock = new StandingClock();
  const quotas = createQuotas(clock, { ...defaultLimits, ...limits }, (name) => own[name] ?? {});
  return { clock, quotas };
}

/** The code of the refusal of `work`; undefined if it went through. */
function refusal(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    if (error instanceof ApiError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return undefined;
}

const admit = (quotas: Quotas, who: Principal, namespace?: string) =>
  refusal(() => quotas.admit(who, namespace, false));

describe('the rate of requests', () => {
  it('is limited for a key with all its tokens, and not for another key', () => {
    const { clock, quotas } = setUp({ keyRequestsPerMinute: 2 });
    expect(admit(quotas, principal('a'))).toBeUndefined();
    expect(admit(quotas, principal('a', 't1'), 'ns')).toBeUndefined();
    expect(admit(quotas, principal('a', 't2'), 'ns')).toMatch(/^too_many_requests: .*API key.* 2 a minute/);
    expect(admit(quotas, principal('b'))).toBeUndefined();
    clock.pass(30_000);
    expect(admit(quotas, principal('a', 't2'), 'ns')).toBeUndefined();
    expect(admit(quotas, principal('a'))).toMatch(/^too_many_requests/);
  });

  it('is limited for a token, and not for its sibling', () => {
    const { quotas } = setUp({ tokenRequestsPerMinute: 1 });
    expect(admit(quotas, principal('a', 't1'))).toBeUndefined();
    expect(admit(quotas, principal('a', 't1'))).toMatch(/service token/);
    expect(admit(quotas, principal('a', 't2'))).toBeUndefined();
  });

  it('is limited for a namespace, by its settings where they are lower, not where they are higher', () => {
    const { quotas } = setUp(
      { namespaceRequestsPerMinute: 2 },
      { strict: { namespaceRequestsPerMinute: 1 }, lax: { namespaceRequestsPerMinute: 3 } },
    );
    const passed = (namespace: string) =>
      Array.from({ length: 5 }, () => admit(quotas, principal('a'), namespace)).filter((refused) => !refused)
        .length;
    expect([passed('plain'), passed('strict'), passed('lax')]).toEqual([2, 1, 2]);
  });

  it('is limited for the calls of a connection, once for each request that calls it', () => {
    const { quotas } = setUp({ connectionRequestsPerMinute: 2 });
    const call = (id: string, times = 1) =>
      refusal(() => {
        const usage = quotas.admit(principal('a'), 'ns', true);
        for (let i = 0; i < times; i++) usage.call(id);
      });
    expect(call('c', 5)).toBeUndefined();
    expect(call('c')).toBeUndefined();
    expect(call('c')).toMatch(/^too_many_requests: .*connection/);
    expect(call('d')).toBeUndefined();
  });

  it('takes nothing of one quota where another one refuses', () => {
    const { clock, quotas } = setUp({ keyRequestsPerMinute: 3, namespaceRequestsPerMinute: 1 });
    expect(admit(quotas, principal('a'), 'ns')).toBeUndefined();
    for (let i = 0; i < 10; i++) expect(admit(quotas, principal('a'), 'ns')).toMatch(/namespace/);
    expect(admit(quotas, principal('a'), 'other')).toBeUndefined();
    expect(admit(quotas, principal('a'))).toBeUndefined();
    expect(admit(quotas, principal('a'))).toMatch(/API key/);
    clock.pass(60_000);
    expect(admit(quotas, principal('a'), 'ns')).toBeUndefined();
  });

  it('is told in the headers of the quota that is nearest to its end', () => {
    const { clock, quotas } = setUp({ keyRequestsPerMinute: 10, namespaceRequestsPerMinute: 4 });
    const usage = quotas.admit(principal('a'), 'ns', false);
    expect(rateLimitHeaders(usage.tightest())).toEqual({
      'ratelimit-limit': '4',
      'ratelimit-remaining': '3',
      'ratelimit-reset': '15',
    });
    clock.pass(5_000);
    expect(rateLimitHeaders(quotas.admit(principal('a'), 'ns', false).tightest())).toMatchObject({
      'ratelimit-remaining': '2',
      'ratelimit-reset': '25',
    });
  });
});

describe('calls under way', () => {
  const calls = (quotas: Quotas, who: Principal, connectionId: string, held: Usage[] = []) =>
    refusal(() => {
      const usage = quotas.admit(who, 'ns', true);
      held.push(usage);
      usage.call(connectionId);
    });

  it.each([
    ['keyOpenCalls', 'API key'],
    ['tokenOpenCalls', 'service token'],
    ['namespaceOpenCalls', 'namespace'],
    ['connectionOpenCalls', 'connection'],
  ])('are limited by %s, until one of them ends', (limit, name) => {
    const { quotas } = setUp({ [limit]: 2 });
    const held: Usage[] = [];
    const who = principal('a', 't');
    expect(calls(quotas, who, 'c', held)).toBeUndefined();
    expect(calls(quotas, who, 'c', held)).toBeUndefined();
    const refused: Usage[] = [];
    expect(calls(quotas, who, 'c', refused)).toBe(
      `too_many_calls: Too many calls at once: this ${name} may have 2 under way.`,
    );
    for (const usage of refused) usage.end();
    held[0]?.end();
    held[0]?.end();
    expect(calls(quotas, who, 'c', held)).toBeUndefined();
    expect(calls(quotas, who, 'c', refused)).toMatch(/^too_many_calls/);
  });

  it('do not count a connection that is found after its caller has gone', () => {
    const { quotas } = setUp({ connectionOpenCalls: 1 });
    const usage = quotas.admit(principal('a'), 'ns', true);
    usage.end();
    usage.call('c');
    expect(calls(quotas, principal('a'), 'c')).toBeUndefined();
  });

  it('do not count requests that are for no upstream', () => {
    const { quotas } = setUp({ keyOpenCalls: 1 });
    for (let i = 0; i < 5; i++) expect(admit(quotas, principal('a'), 'ns')).toBeUndefined();
    expect(calls(quotas, principal('a'), 'c')).toBeUndefined();
  });

  it('are limited by the settings of the namespace where they are lower', () => {
    const { quotas } = setUp({}, { ns: { connectionOpenCalls: 1 } });
    expect(calls(quotas, principal('a'), 'c')).toBeUndefined();
    expect(calls(quotas, principal('a'), 'd')).toBeUndefined();
    expect(calls(quotas, principal('a'), 'c')).toMatch(/this connection may have 1 under way/);
  });
});
