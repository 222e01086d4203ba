import type { Connection } from '../connections/connection.ts';
import type { Change, Pins } from '../connections/pins/drift.ts';
import type { PinStore } from '../connections/pins/pin-store.ts';
import type { Tool } from '../mcp/lists.ts';
import { createBoundedCache } from '../platform/bounded-cache.ts';
import { ApiError } from '../platform/errors.ts';
import type { Limits } from '../platform/limits.ts';
import { matchToolPath } from './tool-path.ts';

/** Where a tool says that it is not as it was pinned, and a list which tools it leaves out. */
const pinKey = 'patchbay/pin';
const instructionsKey = 'patchbay/instructions';
export const quarantinedKey = 'patchbay/quarantined';

/** Holds tools against their pins, and in a namespace with quarantine keeps from callers what nobody has accepted. */
export interface ToolGuard {
  /** Whether the namespace has quarantine. Synchronous when remembered. */
  guards(namespace: string): boolean | Promise<boolean>;
  /** A whole list of tools as callers get it: what differs from its pin says so in `_meta`, or is left out. */
  show(connection: Connection, tools: readonly Tool[]): Promise<readonly Tool[]>;
  /** The tools that the list of a connection leaves out. */
  quarantined(connection: Connection): Promise<string[]>;
  /** `_meta` of its list, which names them, and says if its instructions have changed; nothing where neither is so. */
  listMeta(connection: Connection): Promise<Record<string, unknown>>;
  /** Throws ApiError `tool_quarantined`, or `tool_not_found`, for a tool of that name that nobody has accepted. */
  requireAccepted(connection: Connection, name: string): Promise<void>;
  /** The error for a path below `.tools` that no tool of the list has. */
  missing(connection: Connection, path: string): Promise<ApiError>;
  /** Notes that its server has just listed its tools, and that they were held against their pins. */
  noteListed(connection: Connection): void;
  /** Whether a list of its tools was held against their pins a moment ago. */
  isFresh(connection: Connection): boolean;
  /** Whether it is time to look at the tools of a connection that callers list without us. */
  isLookDue(connection: Connection): boolean;
}

/** `quarantines` says whether a namespace has chosen quarantine. */
export function createToolGuard(
  pins: PinStore,
  quarantines: (namespace: string) => boolean | Promise<boolean>,
  { recordCacheEntries, pinLookMs, quarantineLookMs }: Limits,
): ToolGuard {
  const seen = createBoundedCache<true>(recordCacheEntries, { ttl: quarantineLookMs });
  const looked = createBoundedCache<true>(recordCacheEntries, { ttl: pinLookMs });

  async function quarantined({ namespace, uid }: Connection): Promise<string[]> {
    return (await quarantines(namespace)) ? waiting(await pins.find(uid)).map(({ name }) => name) : [];
  }

  return {
    guards: quarantines,
    quarantined,

    async show(connection, tools) {
      const held = pins.see(connection, tools);
      const { changes, tools: pinned } = held instanceof Promise ? await held : held;
      if (changes.length === 0) return tools;
      const byName = new Map(changes.map((change) => [change.name, change]));
      if (await quarantines(connection.namespace)) return tools.filter(({ name }) => !byName.has(name));
      return tools.map((tool) => {
        const change = byName.get(tool.name);
        return change ? marked(tool, change, pinned.get(tool.name)) : tool;
      });
    },

    async listMeta({ namespace, uid }) {
      const known = await pins.find(uid);
      const names = (await quarantines(namespace)) ? waiting(known).map(({ name }) => name) : [];
      const { hash: pinnedHash, change } = known?.instructions ?? {};
      if (names.length === 0 && !change) return {};
      return {
        _meta: {
          ...(names.length > 0 && { [quarantinedKey]: names }),
          ...(change && {
            [instructionsKey]: {
              status: 'changed',
              since: new Date(change.since).toISOString(),
              hash: change.hash,
              pinnedHash,
            },
          }),
        },
      };
    },

    async requireAccepted({ uid }, name) {
      const known = await pins.find(uid);
      if (waiting(known).some((change) => change.name === name)) throw new ApiError('tool_quarantined');
      if (!known?.tools.has(name)) throw new ApiError('tool_not_found');
    },

    async missing(connection, path) {
      const names = (await quarantined(connection)).map((name) => ({ name }));
      return new ApiError(matchToolPath(names, path) ? 'tool_quarantined' : 'tool_not_found');
    },

    noteListed: ({ uid }) => void seen.set(uid, true),

    isFresh: ({ uid }) => seen.has(uid),

    isLookDue({ uid }) {
      if (looked.has(uid)) return false;
      looked.set(uid, true);
      return true;
    },
  };
}

/** The changes that quarantine keeps back: a tool that was removed is nothing to call. */
function waiting(pins: Pins | undefined): Change[] {
  return pins?.changes.filter(({ kind }) => kind !== 'removed') ?? [];
}

function marked(tool: Tool, { kind, since, hash }: Change, pinnedHash: string | undefined): Tool {
  const pin = { status: kind, since: new Date(since).toISOString(), hash, pinnedHash };
  return { ...tool, _meta: { ...(tool._meta as object | undefined), [pinKey]: pin } };
}
