import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { defaultLimits } from '../platform/limits.ts';
import { connectionScope, type Deed, metadataText, permits } from './permits.ts';
import type { GrantedPermission, Principal } from './principal.ts';
import {
  type Constraint,
  type ConstraintRequest,
  operations,
  type Policy,
  resources,
} from './tokens/constraint.ts';
import { readPolicy } from './tokens/read-policy.ts';

const names = fc.constantFrom('acme', 'beta', 'gamma');
const keys = fc.constantFrom('user', 'team', 'toString');
const texts = fc.constantFrom('a', 'b', '1', 'null', '[1]');
const pairs = fc
  .dictionary(keys, texts, { minKeys: 1, noNullPrototype: true })
  .filter((map) => Object.keys(map).length > 0);
const paths = fc.constantFrom('method', 'params.name', 'params.toString');
const some = <T>(one: fc.Arbitrary<T>) => fc.oneof(one, fc.array(one, { minLength: 1, maxLength: 3 }));
const request: fc.Arbitrary<ConstraintRequest> = fc
  .record(
    {
      namespaces: some(names),
      resources: some(fc.constantFrom(...resources)),
      operations: some(fc.constantFrom(...operations)),
      metadata: some(pairs),
      rpcReqMatch: fc.dictionary(paths, fc.constantFrom('^tools/call$', '^a', 'b$', ''), {
        minKeys: 1,
        noNullPrototype: true,
      }),
    },
    { requiredKeys: [] },
  )
  // A constraint that can match nothing is refused.
  .map(({ metadata, rpcReqMatch, ...rest }) => {
    if (metadata && !rest.resources) return { ...rest, metadata, ...(!rest.operations && { rpcReqMatch }) };
    return rpcReqMatch && !rest.resources && !rest.operations ? { ...rest, rpcReqMatch } : rest;
  }) as never;
const requests = fc.array(request, { minLength: 1, maxLength: 4 });
const policyOf = (constraints: readonly ConstraintRequest[]): Policy =>
  readPolicy(constraints, defaultLimits).policy;
const policies = requests.map(policyOf);

const metadataValue = fc.oneof(texts, fc.constantFrom(1, null, [1], true));
const metadata = fc.option(fc.dictionary(keys, metadataValue, { noNullPrototype: true }), { nil: null });
const asked = fc.record({
  method: fc.constantFrom('tools/call', 'tools/list'),
  params: fc.record({ name: fc.constantFrom('a', 'ab', 'c') }),
});
const deeds: fc.Arbitrary<Deed> = fc.record({
  permission: fc
    .tuple(fc.constantFrom(...resources), fc.constantFrom(...operations))
    .map(([resource, operation]): GrantedPermission => `${resource}:${operation}`),
  namespace: names,
  metadata,
  request: asked,
});

function textsAt(request: unknown, path: string): string[] {
  const { method, params } = request as { method: string; params: { name: string } };
  return (
    new Map([
      ['method', [method]],
      ['params.name', [params.name]],
    ]).get(path) ?? []
  );
}

/** The rules as the documentation has them, field by field. */
function grants(constraint: Constraint, { permission, namespace, metadata, request }: Deed): boolean {
  const [resource, operation] = permission.split(':');
  const isIn = (list: readonly string[] | undefined, value: string) => !list || list.includes(value);
  const fits = (alternatives: Constraint['metadata']) =>
    !alternatives ||
    (resource === 'connections' &&
      alternatives.some((all) =>
        Object.entries(all).every(
          ([key, value]) =>
            new Map(Object.entries(metadata ?? {})).has(key) && metadataText(metadata?.[key]) === value,
        ),
      ));
  const matchesAll = Object.entries(constraint.rpcReqMatch?.toJSON() ?? {}).every(
    ([path, pattern]) =>
      request === undefined || textsAt(request, path).some((text) => new RegExp(pattern).test(text)),
  );
  const isRequest = !constraint.rpcReqMatch || permission === 'connections:execute';
  return (
    isRequest &&
    matchesAll &&
    isIn(constraint.namespaces, namespace as string) &&
    isIn(constraint.resources, resource as string) &&
    isIn(constraint.operations, operation as string) &&
    fits(constraint.metadata)
  );
}

const principalWith = (all: readonly Policy[]) => ({ policies: all }) as Principal;

describe('what policies permit', () => {
  test('without a policy it is everything', () => {
    fc.assert(fc.property(deeds, (deed) => permits([], deed)));
  });

  test('is the union of the constraints of a policy', () => {
    fc.assert(
      fc.property(policies, deeds, (policy, deed) => {
        expect(permits([policy], deed)).toBe(policy.some((constraint) => grants(constraint, deed)));
        expect(permits([policy], deed)).toBe(policy.some((constraint) => permits([[constraint]], deed)));
      }),
    );
  });

  test('is what all policies permit: a child never does what its parent may not', () => {
    fc.assert(
      fc.property(fc.array(policies, { maxLength: 3 }), policies, deeds, (parent, own, deed) => {
        expect(permits([...parent, own], deed)).toBe(permits(parent, deed) && permits([own], deed));
      }),
    );
  });

  test('each further field of a constraint only takes away', () => {
    fc.assert(
      fc.property(request, request, deeds, (one, other, deed) => {
        const both = { ...other, ...one };
        if ((both.metadata || both.rpcReqMatch) && (both.resources || both.operations)) return;
        if (permits([policyOf([both])], deed)) expect(permits([policyOf([one])], deed)).toBe(true);
      }),
    );
  });

  test('what is not asked about is true if it is for some answer', () => {
    fc.assert(
      fc.property(fc.array(policies, { maxLength: 3 }), deeds, (all, deed) => {
        const { permission, namespace } = deed;
        if (!permits(all, deed)) return;
        expect(permits(all, { permission, namespace })).toBe(true);
        expect(permits(all, { permission })).toBe(true);
      }),
    );
  });

  test('is the same in the conditions of a list', () => {
    fc.assert(
      fc.property(
        fc.array(policies, { maxLength: 3 }),
        names,
        metadata,
        asked,
        (all, namespace, found, request) => {
          for (const operation of operations) {
            const permission = `connections:${operation}` as const;
            const scope = connectionScope(principalWith(all), permission, namespace, request);
            const isListed =
              scope?.every((alternatives) =>
                grants({ metadata: alternatives }, { permission, metadata: found }),
              ) ?? false;
            expect(isListed).toBe(permits(all, { permission, namespace, metadata: found, request }));
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  test('a constraint with metadata is about connections alone', () => {
    const policy = policyOf([{ metadata: { user: 'a' } }]);
    for (const resource of ['servers', 'namespaces', 'skills'] as const) {
      for (const operation of operations) {
        expect(permits([policy], { permission: `${resource}:${operation}` })).toBe(false);
      }
    }
  });
});

/** The same, said otherwise. */
function repeated(key: string, value: unknown): unknown {
  if (key === 'rpcReqMatch') return value && Object.fromEntries(Object.entries(value).reverse());
  return Array.isArray(value) ? [...value, ...value].reverse() : [value];
}

describe('the form of a policy in tokens', () => {
  test('is one whatever the order and repetition of what it says', () => {
    fc.assert(
      fc.property(requests, fc.nat(), (constraints, turn) => {
        const turned = constraints
          .map((constraint) =>
            Object.fromEntries(
              Object.entries(constraint)
                .reverse()
                .map(([key, value]) => [key, repeated(key, value)]),
            ),
          )
          .flatMap((constraint, index) => (index === turn % 4 ? [constraint, constraint] : [constraint]))
          .reverse();
        expect(JSON.stringify(policyOf(turned))).toBe(JSON.stringify(policyOf(constraints)));
      }),
    );
  });

  test.each([
    [[{ ttl: '25h' }], /^policy\.0\.ttl: must be at most 24 hours\./],
    [[{ ttl: 86_401 }], /^policy\.0\.ttl: must be at most 24 hours\./],
    [[{}, { ttl: '1d' }], /^policy\.1\.ttl: must be whole seconds/],
    [[{ resources: 'servers', metadata: { a: 'b' } }], /^policy\.0\.metadata: fits connections only/],
    [Array.from({ length: 51 }, () => ({})), /^policy: must have at most 50 constraints\./],
  ] as [ConstraintRequest[], RegExp][])('%j is refused', (constraints, message) => {
    expect(() => policyOf(constraints)).toThrow(message);
  });

  test('its token ends with the constraint that ends first', () => {
    expect(readPolicy([{ ttl: '12h' }, { ttl: 60 }], defaultLimits).ttlMs).toBe(60_000);
    expect(readPolicy([{ ttl: '12h' }, {}], defaultLimits).ttlMs).toBe(3_600_000);
    expect(readPolicy([{ ttl: '24h' }], defaultLimits).ttlMs).toBe(86_400_000);
  });
});
