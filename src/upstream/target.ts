import { Secret } from '../platform/secret.ts';

/** How long a call may take, in milliseconds. */
export interface TimeLimits {
  /** Until the first byte of the answer, and until one that is a JSON document is whole. */
  callTimeoutMs: number;
  /** Silence on an event stream. */
  idleTimeoutMs: number;
  /** Until the answer has ended, however it comes. */
  maxCallMs: number;
}

/** Where and how one version of a connection's upstream is reached. */
export interface Target {
  /** The connection's row. */
  uid: string;
  /** Grows with every change of URL or credentials; sessions and observations belong to one version. */
  version: number;
  /** Scheme, host and port. */
  origin: string;
  /** Path and query. */
  path: string;
  /** Custom headers as a flat list of names and values. */
  headers: Secret<readonly string[]>;
  /** As set for the connection, else the defaults. Not part of the version: sessions outlast a change. */
  timeLimits: TimeLimits;
  /** Only of an uplink: the process that holds its tunnel, as stored; null for none. */
  uplinkHolder?: string | null;
}

/** Splits `mcpUrl` once, so that the data path does not parse it per call. */
export function createTarget(
  uid: string,
  version: number,
  mcpUrl: string,
  headers: Secret<readonly string[]>,
  timeLimits: TimeLimits,
): Target {
  const url = new URL(mcpUrl);
  return { uid, version, origin: url.origin, path: url.pathname + url.search, headers, timeLimits };
}

/** The target of an uplink, which has no address: its tunnel is found by the connection. */
export function createUplinkTarget(
  uid: string,
  version: number,
  uplinkHolder: string | null,
  timeLimits: TimeLimits,
): Target {
  return {
    uid,
    version,
    origin: `uplink:${uid}`,
    path: '',
    headers: new Secret([]),
    timeLimits,
    uplinkHolder,
  };
}

/** The path without its query, for messages: a query may hold a key. */
export function shownPath(target: Target): string {
  const end = target.path.indexOf('?');
  return end === -1 ? target.path : target.path.slice(0, end);
}
