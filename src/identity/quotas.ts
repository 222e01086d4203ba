import { createBoundedCache } from '../platform/bounded-cache.ts';
import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import type { Limits } from '../platform/limits.ts';
import { type Quota, RateMeter } from '../platform/rate-meter.ts';
import type { NamespaceLimits } from './namespace-settings.ts';
import type { Principal } from './principal.ts';

/** Whose requests are counted, each kind apart: what it is called, and its limits. */
const scopes = {
  // A session is held to the limits of a key.
  key: { name: 'API key', requests: 'keyRequestsPerMinute', calls: 'keyOpenCalls' },
  token: { name: 'service token', requests: 'tokenRequestsPerMinute', calls: 'tokenOpenCalls' },
  namespace: { name: 'namespace', requests: 'namespaceRequestsPerMinute', calls: 'namespaceOpenCalls' },
  connection: { name: 'connection', requests: 'connectionRequestsPerMinute', calls: 'connectionOpenCalls' },
} as const;
type Scope = keyof typeof scopes;

/** One key, token, namespace or connection. */
class Subject {
  readonly scope: Scope;
  readonly meter = new RateMeter();
  openCalls = 0;

  constructor(scope: Scope) {
    this.scope = scope;
  }
}

/** What one request uses up of the quotas of its caller, its namespace and the connections that it calls. */
export interface Usage {
  /** The quota that is nearest to its end. */
  tightest(): Quota;
  /**
   * Counts a call of a connection, once however often the request comes back to it. Throws ApiError `too_many_requests`,
   * `too_many_calls`.
   */
  call(connectionUid: string): void;
  /** Its response has closed: nothing of it is under way any more. */
  end(): void;
}

/**
 * Holds callers to how much they may ask for (limits.ts, and the settings of a namespace). In the memory of this process alone,
 * which forgets of too many subjects the one longest unseen.
 */
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
  const known = {
    key: createBoundedCache<Subject>(limits.quotaSubjects),
    token: createBoundedCache<Subject>(limits.quotaSubjects),
    namespace: createBoundedCache<Subject>(limits.quotaSubjects),
    connection: createBoundedCache<Subject>(limits.quotaSubjects),
  };

  function subjectOf(scope: Scope, id: string): Subject {
    let subject = known[scope].get(id);
    if (!subject) {
      subject = new Subject(scope);
      known[scope].set(id, subject);
    }
    return subject;
  }

  // A class, and subjects that stay: this is on the path of each call, which makes one object here.
  class RequestUsage implements Usage {
    readonly #subjects: Subject[] = [];
    readonly #own: NamespaceLimits | undefined;
    readonly #isCall: boolean;
    #hasEnded = false;

    constructor({ rootId, tokenId }: Principal, namespace: string | undefined, isCall: boolean) {
      this.#own = namespace === undefined ? undefined : limitsOf(namespace);
      this.#isCall = isCall;
      const subjects = [subjectOf('key', rootId)];
      if (tokenId !== null) subjects.push(subjectOf('token', tokenId));
      if (namespace !== undefined) subjects.push(subjectOf('namespace', namespace));
      this.#take(subjects);
    }

    call(connectionUid: string): void {
      const subject = subjectOf('connection', connectionUid);
      if (!this.#subjects.includes(subject)) this.#take([subject]);
    }

    end(): void {
      if (this.#isCall && !this.#hasEnded) for (const subject of this.#subjects) subject.openCalls--;
      this.#hasEnded = true;
    }

    tightest(): Quota {
      const now = clock.elapsed();
      let tightest: Quota | undefined;
      for (const { scope, meter } of this.#subjects) {
        const quota = meter.quota(this.#limit(scopes[scope].requests), now);
        if (!tightest || quota.remaining < tightest.remaining) tightest = quota;
      }
      return tightest as Quota;
    }

    /** Takes from all of them, or, if one of them refuses, from none. */
    #take(subjects: readonly Subject[]): void {
      const now = clock.elapsed();
      // Looked up for a caller who had gone by then: nobody would end it.
      const isOpen = this.#isCall && !this.#hasEnded;
      for (const { scope, meter, openCalls } of subjects) {
        const { name, requests, calls } = scopes[scope];
        const perMinute = this.#limit(requests);
        const waitMs = meter.waitMs(perMinute, now);
        if (waitMs > 0) throw tooManyRequests(name, meter.quota(perMinute, now), waitMs);
        const most = this.#limit(calls);
        if (isOpen && openCalls >= most) throw tooManyCalls(name, most);
      }
      for (const subject of subjects) {
        subject.meter.spend(this.#limit(scopes[subject.scope].requests), now);
        if (isOpen) subject.openCalls++;
        this.#subjects.push(subject);
      }
    }

    #limit(name: (typeof scopes)[Scope]['requests' | 'calls']): number {
      const most = limits[name];
      const own = this.#own?.[name as keyof NamespaceLimits];
      return own === undefined ? most : Math.min(own, most);
    }
  }

  return { admit: (principal, namespace, isCall) => new RequestUsage(principal, namespace, isCall) };
}

/** Headers of draft-ietf-httpapi-ratelimit-headers-07, which clients know; seconds, rounded up. */
export function rateLimitHeaders({ limit, remaining, resetMs }: Quota): Record<string, string> {
  return {
    'ratelimit-limit': String(limit),
    'ratelimit-remaining': String(remaining),
    'ratelimit-reset': String(Math.ceil(resetMs / 1000)),
  };
}

function tooManyRequests(name: string, quota: Quota, waitMs: number): ApiError {
  return new ApiError('too_many_requests', {
    message: `Too many requests: this ${name} may have ${quota.limit} a minute.`,
    headers: { 'retry-after': String(Math.ceil(waitMs / 1000)), ...rateLimitHeaders(quota) },
  });
}

function tooManyCalls(name: string, limit: number): ApiError {
  return new ApiError('too_many_calls', {
    message: `Too many calls at once: this ${name} may have ${limit} under way.`,
    headers: { 'retry-after': '1' },
  });
}
