import { ApiError } from '../platform/errors.ts';
import type { GrantedPermission, Permission, Principal } from './principal.ts';
import { type Constraint, operations, type Policy, resources } from './tokens/constraint.ts';

/** Metadata of a connection, as it is stored. */
export type Metadata = Readonly<Record<string, unknown>> | null;

/** What is to be done where. What is left out is not asked about: whether it may be done in some namespace, to some connection. */
export interface Deed {
  permission: GrantedPermission;
  namespace?: string | undefined;
  /** Of the connection that it is done to. */
  metadata?: Metadata;
  /** The JSON-RPC request that is to go to its server, parsed. */
  request?: unknown;
}

/** Metadata conditions that all have to hold; each is a list of alternatives, each of these pairs that all have to match. */
export type MetadataScope = readonly (readonly Readonly<Record<string, string>>[])[];

const everyPermission = resources.flatMap((resource) =>
  operations.map((operation): GrantedPermission => `${resource}:${operation}`),
);
const everyConnectionPermission = operations.map(
  (operation): GrantedPermission => `connections:${operation}`,
);

/**
 * Whether the policies permit it: each of them, by one of its constraints. So a token that was minted from another one
 * never permits more (api.md §6, Narrowing).
 */
export function permits(policies: readonly Policy[], deed: Deed): boolean {
  return policies.every((policy) => policy.some((constraint) => matches(constraint, deed)));
}

/**
 * Why the caller must not do it in `namespace`, whatever the connection; undefined if it may. Where it may do nothing at
 * all it is as if the namespace did not exist (design §8, Permissions).
 */
export function namespaceRefusal(
  { kind, role, policies }: Principal,
  permission: Permission,
  namespace: string | undefined,
): ApiError | undefined {
  if (permission === 'admin') return role === 'member' ? notAdmin() : undefined;
  if (permission === 'member') return kind === 'service_token' ? notMember() : undefined;
  if (policies.length === 0 || !isGranted(permission)) return undefined;
  if (permits(policies, { permission, namespace })) return undefined;
  const isVisible = everyPermission.some((other) => permits(policies, { permission: other, namespace }));
  return namespace === undefined || isVisible
    ? missingPermission(permission, namespace)
    : new ApiError('namespace_not_found');
}

/**
 * Why the caller must not do it to a connection of `namespace` that has this metadata, or not with this JSON-RPC
 * request; undefined if it may.
 */
export function connectionRefusal(
  { policies }: Principal,
  permission: GrantedPermission,
  namespace: string,
  metadata: Metadata,
  request?: unknown,
): ApiError | undefined {
  if (policies.length === 0) return undefined;
  if (permits(policies, { permission, namespace, metadata, request })) return undefined;
  const isVisible = everyConnectionPermission.some((other) =>
    permits(policies, { permission: other, namespace, metadata }),
  );
  if (!isVisible) return new ApiError('connection_not_found');
  const refusal = missingPermission(permission, namespace);
  if (!permits(policies, { permission, namespace, metadata })) return refusal;
  return new ApiError('forbidden', { message: `${refusal.message} for this request` });
}

/** The connections of `namespace` that the caller may do it to, with `request` if given; undefined if there can be none. */
export function connectionScope(
  { policies }: Principal,
  permission: GrantedPermission,
  namespace: string,
  request?: unknown,
): MetadataScope | undefined {
  const scope: Readonly<Record<string, string>>[][] = [];
  for (const policy of policies) {
    const matching = policy.filter((constraint) => matches(constraint, { permission, namespace, request }));
    if (matching.length === 0) return undefined;
    const bound = matching.map(({ metadata }) => metadata).filter((metadata) => metadata !== undefined);
    if (bound.length === matching.length) scope.push(bound.flat());
  }
  return scope;
}

/** Whether it depends on the JSON-RPC request what the caller may do. */
export function isBoundToRequests({ policies }: Principal): boolean {
  return policies.some((policy) => policy.some(({ rpcReqMatch }) => rpcReqMatch !== undefined));
}

/** Whether policies decide on it. */
export function isGranted(permission: Permission): permission is GrantedPermission {
  return permission.includes(':');
}

/** ApiError `forbidden` for what an admin does: of the organization that is named, if one is. */
export function notAdmin(): ApiError {
  return new ApiError('forbidden', {
    message: 'You are no admin of that organization: use one of its API keys, or ask one of its admins.',
  });
}

function notMember(): ApiError {
  return new ApiError('forbidden', {
    message: 'A service token may not do this: use an API key, or sign in.',
  });
}

/** ApiError `forbidden` in the API's words (api.md §2). */
export function missingPermission(permission: GrantedPermission, namespace: string | undefined): ApiError {
  const where = namespace === undefined ? '' : ` in namespace ${namespace}`;
  return new ApiError('forbidden', { message: `Missing required permission: ${permission}${where}` });
}

/** A metadata value as filters and constraints compare it: a string as it is, anything else as its JSON (api.md §4). */
export function metadataText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function matches(constraint: Constraint, { permission, namespace, metadata, request }: Deed): boolean {
  const [resource, operation] = permission.split(':') as [never, never];
  if (constraint.namespaces && namespace !== undefined && !constraint.namespaces.includes(namespace))
    return false;
  if (constraint.resources && !constraint.resources.includes(resource)) return false;
  if (constraint.operations && !constraint.operations.includes(operation)) return false;
  // Nothing else sends requests to servers, so nothing else can match.
  if (constraint.rpcReqMatch && permission !== 'connections:execute') return false;
  if (constraint.rpcReqMatch && request !== undefined && !constraint.rpcReqMatch.accepts(request))
    return false;
  if (!constraint.metadata) return true;
  // Nothing else has metadata, so nothing else can match.
  if (resource !== 'connections') return false;
  return metadata === undefined || constraint.metadata.some((pairs) => hasAll(metadata, pairs));
}

function hasAll(metadata: Metadata, pairs: Readonly<Record<string, string>>): boolean {
  if (metadata === null) return false;
  return Object.entries(pairs).every(
    ([key, value]) => Object.hasOwn(metadata, key) && metadataText(metadata[key]) === value,
  );
}
