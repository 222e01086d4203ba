import { createBoundedCache } from '../platform/bounded-cache.ts';
import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import { readableNamespaceName } from '../platform/ids.ts';
import type { Limits } from '../platform/limits.ts';
import { isDuplicate, type Store } from '../platform/store/store.ts';
import { type NamespaceLimits, parseSettings } from './namespace-settings.ts';
import { permits } from './permits.ts';
import type { Principal } from './principal.ts';

export interface Namespace {
  name: string;
  createdAt: number;
}

/** First path segments that mean something else on the one origin (design §4, §8; api.md §1). */
const reserved = new Set(
  (
    'api app assets audit connect docs favicon.ico health login mcp metrics namespaces oauth openapi.json ' +
    'organizations robots.txt servers setup skills static tokens tools uplink v0 v0.1 well-known'
  ).split(' '),
);

/** 3 to 39 of a-z, 0-9 and hyphen, and no reserved word. */
function isNamespaceName(name: string): boolean {
  return /^[a-z0-9-]{3,39}$/.test(name) && !reserved.has(name);
}

function checkNamespaceName(name: string): void {
  if (!/^[a-z0-9-]{3,39}$/.test(name)) {
    throw new ApiError('validation_error', {
      message: 'name: must be 3 to 39 characters of a-z, 0-9 and hyphen.',
    });
  }
  if (reserved.has(name)) throw new ApiError('validation_error', { message: `name: "${name}" is reserved.` });
}

/** The organization's namespaces that the caller may read, oldest first (design §8). */
export async function listNamespaces(
  store: Store,
  { organizationId, policies }: Principal,
): Promise<Namespace[]> {
  const rows = await store.db
    .selectFrom('namespaces')
    .select(['name', 'created_at'])
    .where('organization_id', '=', organizationId)
    .orderBy('created_at')
    .orderBy('name')
    .execute();
  return rows
    .filter(({ name }) => permits(policies, { permission: 'namespaces:read', namespace: name }))
    .map(({ name, created_at }) => ({ name, createdAt: created_at }));
}

/** A page of these namespaces whose names begin with `prefix`; pages past the end are empty. */
export async function searchNamespaces(
  store: Store,
  principal: Principal,
  { prefix, page, pageSize }: { prefix: string; page: number; pageSize: number },
): Promise<{ names: string[]; totalCount: number }> {
  const matching = (await listNamespaces(store, principal))
    .map(({ name }) => name)
    .filter((name) => name.startsWith(prefix));
  const start = (page - 1) * pageSize;
  return { names: matching.slice(start, start + pageSize), totalCount: matching.length };
}

/** Makes a namespace under a generated name. */
export async function createNamespace(
  store: Store,
  clock: Clock,
  organizationId: string,
): Promise<Namespace> {
  for (;;) {
    const created = await insertNamespace(store, clock, organizationId, readableNamespaceName());
    if (created) return created;
  }
}

/**
 * Makes the namespace `name`, or returns it if the organization has it already.
 * Throws ApiError `validation_error` for a name that none may have, `already_exists` if it is another organization's.
 */
export async function ensureNamespace(
  store: Store,
  clock: Clock,
  organizationId: string,
  name: string,
): Promise<Namespace> {
  checkNamespaceName(name);
  const created = await insertNamespace(store, clock, organizationId, name);
  if (created) return created;
  const row = await store.db
    .selectFrom('namespaces')
    .select(['organization_id', 'created_at'])
    .where('name', '=', name)
    .executeTakeFirst();
  if (row?.organization_id === organizationId) return { name, createdAt: row.created_at };
  throw new ApiError('already_exists', { message: `Namespace "${name}" already exists.` });
}

/**
 * Deletes a namespace with its connections and data keys; what was sealed in it is lost for good.
 * Throws ApiError `namespace_not_found`. Returns the rows of its connections, whose sessions are to be ended.
 */
export async function deleteNamespace(store: Store, organizationId: string, name: string): Promise<string[]> {
  if (!isNamespaceName(name)) throw new ApiError('namespace_not_found');
  return store.write(async (transaction, stale) => {
    const connections = await transaction
      .selectFrom('connections')
      .select('uid')
      .where('namespace', '=', name)
      .execute();
    const deleted = await transaction
      .deleteFrom('namespaces')
      .where('name', '=', name)
      .where('organization_id', '=', organizationId)
      .executeTakeFirst();
    if (deleted.numDeletedRows === 0n) throw new ApiError('namespace_not_found');
    stale(`namespace:${name}`);
    return connections.map(({ uid }) => uid);
  });
}

async function insertNamespace(
  store: Store,
  clock: Clock,
  organizationId: string,
  name: string,
): Promise<Namespace | undefined> {
  const createdAt = clock.now();
  try {
    await store.write(async (transaction, stale) => {
      await transaction
        .insertInto('namespaces')
        .values({ name, organization_id: organizationId, created_at: createdAt })
        .execute();
      stale(`namespace:${name}`);
    });
    return { name, createdAt };
  } catch (error) {
    if (isDuplicate(error)) return undefined;
    throw error;
  }
}

export interface NamespaceDirectory {
  /** Whether the caller's organization owns the namespace. Synchronous when remembered. */
  owns(principal: Principal, name: string): boolean | Promise<boolean>;
  /** The same from memory alone: false also where it is not remembered. */
  isKnownOwner(principal: Principal, name: string): boolean;
  /** The organization that owns the namespace; undefined if there is no such namespace. Synchronous when remembered. */
  ownerOf(name: string): string | undefined | Promise<string | undefined>;
  /** Whether changed tools are kept from callers there until they are accepted. Synchronous when remembered. */
  quarantines(name: string): boolean | Promise<boolean>;
  /** Whether the audit keeps what calls say there; false where it is not remembered. */
  keepsAuditDetail(name: string): boolean;
  /** What the namespace allows itself; nothing where it is not remembered. */
  limitsOf(name: string): NamespaceLimits;
}

/** What is remembered of a namespace. */
interface Remembered {
  owner: string;
  limits: NamespaceLimits;
  quarantine: boolean;
  auditDetail: boolean;
}

/** Remembers which organization owns which namespace; names that nobody has are asked anew each time. */
export function createNamespaceDirectory(store: Store, limits: Limits): NamespaceDirectory {
  const remembered = createBoundedCache<Remembered>(limits.identityCacheEntries, {
    ttl: limits.identityCacheMs,
    ttlResolution: limits.cacheClockMs,
  });
  let changes = 0;
  store.onStale((key) => {
    if (key !== null && !key.startsWith('namespace:')) return;
    changes++;
    if (key === null) remembered.clear();
    else remembered.delete(key.slice('namespace:'.length));
  });

  async function load(name: string): Promise<Remembered | undefined> {
    const seen = changes;
    const row = await store.db
      .selectFrom('namespaces')
      .select(['organization_id', 'settings'])
      .where('name', '=', name)
      .executeTakeFirst();
    if (!row) return undefined;
    const { limits: own, quarantine, auditDetail } = parseSettings(row.settings);
    const loaded = { owner: row.organization_id, limits: own, quarantine, auditDetail };
    if (seen === changes) remembered.set(name, loaded);
    return loaded;
  }

  function ownerOf(name: string): string | undefined | Promise<string | undefined> {
    const owner = remembered.get(name)?.owner;
    if (owner !== undefined) return owner;
    return isNamespaceName(name) ? load(name).then((loaded) => loaded?.owner) : undefined;
  }

  return {
    ownerOf,
    quarantines(name) {
      const known = remembered.get(name);
      return known ? known.quarantine : load(name).then((loaded) => loaded?.quarantine ?? false);
    },
    keepsAuditDetail: (name) => remembered.get(name)?.auditDetail ?? false,
    limitsOf: (name) => remembered.get(name)?.limits ?? {},
    isKnownOwner: ({ organizationId }, name) => remembered.get(name)?.owner === organizationId,
    owns({ organizationId }, name) {
      const owner = ownerOf(name);
      if (owner instanceof Promise) return owner.then((found) => found === organizationId);
      return owner === organizationId;
    },
  };
}
