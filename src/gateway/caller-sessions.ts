import { hash } from 'node:crypto';
import type { Connection } from '../connections/connection.ts';
import type { Principal } from '../identity/principal.ts';
import type { Keyring } from '../platform/keyring.ts';
import { seal as sealText, UnsealError, unseal } from '../platform/vault.ts';
import type { LegacyClient } from '../upstream/legacy-session.ts';
import type { EndedSessions } from './ended-sessions.ts';

/** Whom a session id is for: it is worth nothing to anyone else, or on another connection. */
export interface SessionOwner {
  /** The connection's row, and the version of its target: new credentials make new sessions. */
  uid: string;
  targetVersion: number;
  /** The caller, as `Principal.identity`: the same with a renewed token (pains 24), another with other rights. */
  caller: string;
}

/**
 * Sessions of legacy callers. The id that a caller gets is the upstream's own, sealed together with whom it is for
 * (MCP 2025-11-25, basic/transports: any visible ASCII), so any process can serve it and a caller that never ends its
 * session leaves nothing behind here.
 */
export interface CallerSessions {
  /** The caller's id for an upstream session. */
  seal(owner: SessionOwner, upstreamId: string): string;
  /** The upstream's id again; undefined for one that is not the owner's, has run out, or was ended. */
  open(owner: SessionOwner, id: string): string | undefined;
  /** The id of a caller whose upstream keeps no sessions: what the caller said of itself. */
  sealClient(owner: SessionOwner, client: LegacyClient): string;
  /** What such a caller said again; undefined as with `open`. */
  openClient(owner: SessionOwner, id: string): LegacyClient | undefined;
  /** Ends it: from now on it is none. */
  end(id: string): Promise<void>;
}

/** Whom the sessions of a caller on a connection belong to. */
export function ownerOf({ uid, targetVersion }: Connection, { identity }: Principal): SessionOwner {
  return { uid, targetVersion, caller: identity };
}

const ofUpstream = 'mcp session';
const ofClient = 'mcp client';

/** Builds them on a key of their own, derived from the master key. */
export function createCallerSessions(
  keyring: Keyring,
  now: () => number,
  lifeMs: number,
  ended: EndedSessions,
): CallerSessions {
  const key = keyring.derive('mcp sessions');
  const identity = (kind: string, { uid, targetVersion, caller }: SessionOwner) => [
    kind,
    uid,
    String(targetVersion),
    caller,
  ];

  function seal(kind: string, owner: SessionOwner, text: string): string {
    const dated = `${(now() + lifeMs).toString(36)}.${text}`;
    return sealText(key, 0, identity(kind, owner), Buffer.from(dated, 'utf8'));
  }

  function open(kind: string, owner: SessionOwner, id: string): string | undefined {
    // Decoding is lenient: an ended id must not come back under another spelling.
    if (Buffer.from(id, 'base64url').toString('base64url') !== id) return undefined;
    if (ended.has(sessionHash(id))) return undefined;
    try {
      const text = unseal(key, identity(kind, owner), id).toString('utf8');
      const dot = text.indexOf('.');
      return Number.parseInt(text.slice(0, dot), 36) > now() ? text.slice(dot + 1) : undefined;
    } catch (error) {
      if (error instanceof UnsealError) return undefined;
      throw error;
    }
  }

  return {
    seal: (owner, upstreamId) => seal(ofUpstream, owner, upstreamId),
    open: (owner, id) => open(ofUpstream, owner, id),
    sealClient: (owner, client) => seal(ofClient, owner, JSON.stringify(client)),
    openClient(owner, id) {
      const text = open(ofClient, owner, id);
      return text === undefined ? undefined : (JSON.parse(text) as LegacyClient);
    },
    end: (id) => ended.add(sessionHash(id), now() + lifeMs),
  };
}

/** What stands for a session id where it is kept: whoever reads that cannot use the session. */
export function sessionHash(id: string): string {
  return hash('sha256', id, 'base64url');
}
