import { beforeEach, describe, expect, test } from 'vitest';
import type { Clock } from '../platform/clock.ts';
import { EgressDenied } from '../platform/egress/address-policy.ts';
import { ApiError } from '../platform/errors.ts';
import { defaultLimits } from '../platform/limits.ts';
import { Secret } from '../platform/secret.ts';
import { Circuits } from './circuits.ts';
import { CredentialsRefused, faultOfError, faultOfStatus, UpstreamFault } from './fault.ts';
import { createTarget } from './target.ts';

let time = 0;
const clock: Clock = {
  now: () => Date.parse('2026-11-26T03:00:00Z') + time,
  elapsed: () => time,
  after: () => () => {},
};
const limits = {
  ...defaultLimits,
  circuitFailures: 3,
  circuitFailingMs: 500,
  circuitOpenMinMs: 1_000,
  circuitOpenMaxMs: 8_000,
  retryAfterMaxMs: 60_000,
  circuits: 100,
};
const timeLimits = { callTimeoutMs: 1, idleTimeoutMs: 1, maxCallMs: 1 };
const targetOf = (uid: string, version = 1) =>
  createTarget(uid, version, 'http://127.0.0.1:1/mcp', new Secret([]), timeLimits);
const a = targetOf('a');
const b = targetOf('b');
const refused = new UpstreamFault('unreachable', 'connection refused');
const noHeaders = { retryAfter: undefined, challenge: undefined };
const status = (code: number, retryAfter?: string) => faultOfStatus(code, a, { ...noHeaders, retryAfter });

let circuits: Circuits;
beforeEach(() => {
  time = 0;
  circuits = new Circuits(clock, limits);
});

/** What a new call is told: `ok`, or the error. */
function ask(target = a, call: object = {}): 'ok' | ApiError {
  try {
    circuits.enter(target, call);
    return 'ok';
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
}

function fail(fault = refused, times = 3, target = a): void {
  for (let i = 0; i < times; i++) {
    circuits.failed(target, fault);
    time += 250;
  }
}

describe('a circuit', () => {
  test('opens after failures in a row, with an error that says what to do', () => {
    fail(refused, 2);
    expect(ask()).toBe('ok');
    fail(refused, 1);
    const error = ask() as ApiError;
    expect(error).toMatchObject({ code: 'circuit_open', status: 503 });
    expect(error.message).toMatch(/3 times in a row \(connection refused\)\. .*PUT the connection/);
    expect(Number(error.answerHeaders()['retry-after'])).toBeGreaterThanOrEqual(1);
    expect(error.answerHeaders()['x-should-retry']).toBeUndefined();
  });

  test('stays closed for many failures within a moment, as of calls that met the same restart', () => {
    for (let i = 0; i < 50; i++) circuits.failed(a, refused);
    expect(ask()).toBe('ok');
    time = 500;
    circuits.failed(a, refused);
    expect(ask()).not.toBe('ok');
  });

  test('a success between failures closes it', () => {
    fail(refused, 2);
    circuits.succeeded('a');
    fail(refused, 2);
    expect(ask()).toBe('ok');
  });

  test.each([
    ['refused', refused],
    ['no answer in time', new UpstreamFault('timeout', 'x')],
    ['a reset', faultOfError(Object.assign(new Error('x'), { code: 'ECONNRESET' }))],
    ['502', status(502)],
    ['503', status(503)],
    ['504', status(504)],
  ])('opens by %s', (_name, fault) => {
    fail(fault);
    expect(ask()).toMatchObject({ code: 'circuit_open' });
  });

  test.each([
    ['400', status(400)],
    ['401', new CredentialsRefused(401, undefined)],
    ['403', status(403)],
    ['404', status(404)],
    ['429 without Retry-After', status(429)],
    ['500', status(500)],
    ['an answer that is not MCP', new UpstreamFault('wrong_answer', 'x')],
    ['an answer cut off in the middle', new UpstreamFault('cut_off', 'x').notOnTheWay()],
    ['a destination that is not allowed', faultOfError(new EgressDenied('x'))],
  ])('does not open by %s, and ends a row of failures by it', (_name, fault) => {
    fail(fault, 10);
    expect(ask()).toBe('ok');
    fail(refused, 2);
    circuits.failed(a, fault);
    fail(refused, 2);
    expect(ask()).toBe('ok');
  });

  test('is one connection\u2019s own', () => {
    fail(refused, 5);
    expect(ask(a)).not.toBe('ok');
    expect(ask(b)).toBe('ok');
  });

  test('lets one call try when the cool-down is over, which comes through again itself', () => {
    fail();
    time += 2_000;
    const trial = {};
    expect(ask(a, trial)).toBe('ok');
    expect(ask()).toMatchObject({ code: 'circuit_open' });
    expect(ask(a, trial)).toBe('ok');
    circuits.succeeded('a');
    expect(ask()).toBe('ok');
    fail(refused, 2);
    expect(ask()).toBe('ok');
  });

  test('opens for longer each time a trial fails, up to a limit', () => {
    fail();
    let longest = 0;
    for (let i = 0; i < 20; i++) {
      const startedAt = time;
      while (ask() !== 'ok') time += 100;
      longest = Math.max(longest, time - startedAt);
      circuits.failed(a, refused);
      expect(ask()).not.toBe('ok');
    }
    expect(longest).toBeGreaterThan(2_000);
    expect(longest).toBeLessThanOrEqual(limits.circuitOpenMaxMs + 100);
  });

  test('has a cool-down with jitter, so that many do not come again in step', () => {
    const waits = Array.from({ length: 20 }, (_, i) => {
      const target = targetOf(`jitter-${i}`);
      fail(refused, 3, target);
      return (/in (\d+) s/.exec((ask(target) as ApiError).message) as RegExpExecArray)[1];
    });
    expect(new Set(waits).size).toBeGreaterThan(1);
  });

  test('a trial of which nothing is heard makes way for another', () => {
    fail();
    time += 2_000;
    expect(ask()).toBe('ok');
    expect(ask()).not.toBe('ok');
    time += limits.circuitOpenMaxMs;
    expect(ask()).toBe('ok');
  });

  test('calls from before it opened do not lengthen the cool-down', () => {
    fail();
    time += 900;
    fail(refused, 5);
    time += 1_000;
    expect(ask()).toBe('ok');
  });

  test.each([
    ['a reset', () => circuits.reset('a'), a],
    ['a new version of the target', () => {}, targetOf('a', 2)],
  ])('is closed by %s', (_name, change, target) => {
    fail();
    expect(ask()).not.toBe('ok');
    change();
    expect(ask(target)).toBe('ok');
  });
});

describe('a pause that the upstream asks for', () => {
  test.each([429, 503])('with %i is kept to its end, and its rest is told', (code) => {
    circuits.failed(a, status(code, '17'));
    time += 7_200;
    expect(circuits.pausedMs('a')).toBe(9_800);
    const error = ask() as ApiError;
    expect(error).toMatchObject({ code: 'rate_limited', status: 429 });
    expect(error.answerHeaders()).toEqual({ 'retry-after': '10' });
    expect(ask(b)).toBe('ok');
    time += 9_800;
    expect(ask()).toBe('ok');
    expect(circuits.pausedMs('a')).toBe(0);
  });

  test('is no longer than the limit', () => {
    circuits.failed(a, status(429, '86400'));
    time = limits.retryAfterMaxMs - 1;
    expect(ask()).not.toBe('ok');
    time++;
    expect(ask()).toBe('ok');
  });

  test('outlasts what calls from before it bring', () => {
    circuits.failed(a, status(429, '10'));
    circuits.failed(a, status(429, '5'));
    circuits.succeeded('a');
    circuits.failed(a, status(404));
    time = 9_999;
    expect(ask()).toMatchObject({ code: 'rate_limited' });
    circuits.reset('a');
    expect(ask()).toBe('ok');
  });
});

test('no more circuits are remembered than the limit says: the oldest give way', () => {
  for (let i = 0; i <= limits.circuits; i++) circuits.failed(targetOf(`c${i}`), status(429, '50'));
  expect(ask(targetOf('c0'))).toBe('ok');
  expect(ask(targetOf('c1'))).not.toBe('ok');
  expect(ask(targetOf(`c${limits.circuits}`))).not.toBe('ok');
});
