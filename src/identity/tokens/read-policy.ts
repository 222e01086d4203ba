import { ApiError } from '../../platform/errors.ts';
import type { Limits } from '../../platform/limits.ts';
import type { Constraint, ConstraintRequest, Policy } from './constraint.ts';
import { durationMs } from './duration.ts';
import { RequestMatch } from './request-match.ts';

/**
 * The policy of a request in the form that tokens carry, and how long its token is to last: as long as the constraint
 * that ends first (design §8, Tokens). Equal policies have one form, whatever the order of their lists and keys.
 * Throws ApiError `validation_error`, naming the field.
 */
export function readPolicy(
  request: readonly ConstraintRequest[],
  limits: Limits,
): { policy: Policy; ttlMs: number } {
  if (request.length > limits.constraintsPerPolicy) {
    refuse('policy', `must have at most ${limits.constraintsPerPolicy} constraints`);
  }
  const ttlMs = Math.min(...request.map((constraint, index) => readTtl(constraint, index, limits)));
  return {
    policy: sorted(request.map((constraint, index) => readConstraint(constraint, index, limits))),
    ttlMs,
  };
}

function readTtl({ ttl }: ConstraintRequest, index: number, { tokenDefaultMs, tokenMaxMs }: Limits): number {
  if (ttl === undefined) return tokenDefaultMs;
  const ms = durationMs(ttl);
  const field = `policy.${index}.ttl`;
  if (ms === undefined) refuse(field, 'must be whole seconds, at least 1, or such as "20s", "30m", "1h"');
  if (ms > tokenMaxMs) refuse(field, `must be at most ${tokenMaxMs / 3_600_000} hours`);
  return ms;
}

function readConstraint(
  { namespaces, resources, operations, metadata, rpcReqMatch }: ConstraintRequest,
  index: number,
  limits: Limits,
): Constraint {
  const field = `policy.${index}.rpcReqMatch`;
  const excludesConnections = resources !== undefined && !listOf(resources).includes('connections');
  if (metadata !== undefined && excludesConnections) {
    refuse(`policy.${index}.metadata`, 'fits connections only, which resources does not name');
  }
  if (rpcReqMatch !== undefined && excludesConnections) {
    refuse(field, 'fits connections only, which resources does not name');
  }
  if (rpcReqMatch !== undefined && operations !== undefined && !listOf(operations).includes('execute')) {
    refuse(field, 'fits execute only, which operations does not name');
  }
  return {
    ...(namespaces !== undefined && { namespaces: sorted(listOf(namespaces)) }),
    ...(resources !== undefined && { resources: sorted(listOf(resources)) }),
    ...(operations !== undefined && { operations: sorted(listOf(operations)) }),
    ...(metadata !== undefined && {
      metadata: sorted(listOf<Record<string, string>>(metadata).map(sortedKeys)),
    }),
    ...(rpcReqMatch !== undefined && { rpcReqMatch: readRequestMatch(rpcReqMatch, field, limits) }),
  };
}

function readRequestMatch(patterns: Record<string, string>, field: string, limits: Limits): RequestMatch {
  for (const [path, pattern] of Object.entries(patterns)) {
    if (path.split('.').includes('')) refuse(`${field}.${path}`, 'must be names with dots between them');
    try {
      new RequestMatch({ [path]: pattern }, 0);
    } catch (error) {
      refuse(`${field}.${path}`, `is no regular expression of RE2: ${(error as Error).message}`);
    }
  }
  return new RequestMatch(sortedKeys(patterns), limits.rpcMatchChars);
}

function listOf<T>(value: T | readonly T[]): readonly T[] {
  return Array.isArray(value) ? value : [value as T];
}

/** In a fixed order, each value once. */
function sorted<T>(values: readonly T[]): T[] {
  const byText = new Map(values.map((value) => [JSON.stringify(value), value]));
  return [...byText].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
}

function sortedKeys(pairs: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(pairs).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function refuse(field: string, problem: string): never {
  throw new ApiError('validation_error', { message: `${field}: ${problem}.` });
}
