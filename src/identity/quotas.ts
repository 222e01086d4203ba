import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import type { Limits } from '../platform/limits.ts';
import { OpenCounts } from '../platform/open-counts.ts';
import { type Quota, RateMeter } from '../platform/rate-meter.ts';
import type { NamespaceLimits } from './namespace-settings.ts';
import type { Principal } from './principal.ts';

/** Whose requests are counted, each kind apart. */
const scopes = ['key', 'token', 'namespace', 'connection'] as const;
type Scope = (typeof scopes)[number];

const names: Record<Scope, string> = {
  key: 'API key',
  token: 'service token',
  namespace: 'namespace',
  connection: 'connection',
};

/** What one request uses up of the quotas of its caller, its namespace and the connections that it calls. */
export interface Usage {
  /** The quota that is nearest to its end. */
  readonly tightest: Quota;
  /**
   * Counts a call of a connection, once however often the request comes back to it. Throws ApiError `too_many_requests`,
   * `too_many_calls`.
   */
  call(connectionId: string): void;
  /** Its response has closed: nothing of it is under way any more. */
  end(): void;
}

/** Holds callers to how much they may ask for (limits.ts, and the settings of a namespace). Memory of this process alone. */
export interface Quotas {
  /**
   * Counts a request, of a caller that is let in; `isCall` where it is for an upstream. Throws ApiError `too_many_requests`,
   * `too_many_calls`.
   */
  admit(principal: Principal, namespace: string | undefined, isCall: boolean): Usage;
}

/** `limitsOf` says what a namespace allows itself, of less than limits.ts; from memory. */
export function createQuotas(
  clock: Clock,
  limits: Limits,
  limitsOf: (namespace: string) => NamespaceLimits,
): Quotas {
  const meters = perScope(() => new RateMeter(limits.quotaSubjects));
  const open = perScope(() => new OpenCounts());

  /** The quota as one more request of each leaves it; spent only if all have room for it. */
  function spend(subjects: readonly [Scope, string][], namespace: string | undefined): Quota {
    const now = clock.elapsed();
    const own = namespace === undefined ? {} : limitsOf(namespace);
    const quotas = subjects.map(([scope, subject]) => {
      const limit = limits[`${scope}RequestsPerMinute`];
      const quota = meters[scope].ask(subject, lower(limit, own, `${scope}RequestsPerMinute`), now);
      if (quota.retryMs > 0) throw tooManyRequests(scope, quota);
      return quota;
    });
    for (const [index, [scope, subject]] of subjects.entries()) {
      meters[scope].spend(subject, quotas[index] as Quota, now);
    }
    return quotas.reduce(tighter);
  }

  function begin(held: [Scope, string][], more: readonly [Scope, string][], namespace: string): void {
    const own = limitsOf(namespace);
    for (const [scope, subject] of more) {
      const limit = lower(limits[`${scope}OpenCalls`], own, `${scope}OpenCalls`);
      if (open[scope].of(subject) >= limit) throw tooManyCalls(scope, limit);
    }
    for (const [scope, subject] of more) {
      open[scope].begin(subject);
      held.push([scope, subject]);
    }
  }

  return {
    admit(principal, namespace, isCall) {
      const subjects = subjectsOf(principal, namespace);
      const held: [Scope, string][] = [];
      const called = new Set<string>();
      let tightest = spend(subjects, namespace);
      let ended = false;
      if (isCall && namespace !== undefined) begin(held, subjects, namespace);
      return {
        get tightest() {
          return tightest;
        },
        call(connectionId) {
          if (namespace === undefined || called.has(connectionId)) return;
          const subject: [Scope, string][] = [['connection', `${namespace}/${connectionId}`]];
          tightest = tighter(tightest, spend(subject, namespace));
          called.add(connectionId);
          // Looked up for a caller who had gone by then: nobody would end it.
          if (!ended) begin(held, subject, namespace);
        },
        end() {
          ended = true;
          for (const [scope, subject] of held.splice(0)) open[scope].end(subject);
        },
      };
    },
  };
}

function subjectsOf({ keyId, tokenId }: Principal, namespace: string | undefined): [Scope, string][] {
  const subjects: [Scope, string][] = [['key', keyId]];
  if (tokenId !== null) subjects.push(['token', tokenId]);
  if (namespace !== undefined) subjects.push(['namespace', namespace]);
  return subjects;
}

function perScope<T>(make: () => T): Record<Scope, T> {
  return Object.fromEntries(scopes.map((scope) => [scope, make()])) as Record<Scope, T>;
}

function lower(limit: number, own: NamespaceLimits, name: string): number {
  return Math.min(limit, (own as Record<string, number | undefined>)[name] ?? limit);
}

function tighter(one: Quota, other: Quota): Quota {
  return other.remaining < one.remaining ? other : one;
}

/** Headers of draft-ietf-httpapi-ratelimit-headers-07, which clients know; seconds, rounded up. */
export function rateLimitHeaders({ limit, remaining, resetMs }: Quota): Record<string, string> {
  return {
    'ratelimit-limit': String(limit),
    'ratelimit-remaining': String(remaining),
    'ratelimit-reset': String(Math.ceil(resetMs / 1000)),
  };
}

function tooManyRequests(scope: Scope, quota: Quota): ApiError {
  return new ApiError('too_many_requests', {
    message: `Too many requests: this ${names[scope]} may have ${quota.limit} a minute.`,
    headers: { 'retry-after': String(Math.ceil(quota.retryMs / 1000)), ...rateLimitHeaders(quota) },
  });
}

function tooManyCalls(scope: Scope, limit: number): ApiError {
  return new ApiError('too_many_calls', {
    message: `Too many calls at once: this ${names[scope]} may have ${limit} under way.`,
    headers: { 'retry-after': '1' },
  });
}
