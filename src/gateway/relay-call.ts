import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { AuditEntry } from '../audit/entry.ts';
import type { RequestId } from '../mcp/message.ts';
import type { UpstreamFault } from '../upstream/fault.ts';
import type { Target } from '../upstream/target.ts';

/** Where an answer goes. */
export interface Downstream {
  response: ServerResponse;
  /** Headers that every answer there has; written with the others at once, which Node does cheapest. */
  headers: OutgoingHttpHeaders;
  /** What the audit will say of the call. */
  entry: AuditEntry;
}

/** One call to pass through. */
export interface RelayCall {
  target: Target;
  /** JSON-RPC message as it goes upstream. */
  body: Buffer;
  /** Headers besides the target's own and the content negotiation. */
  headers: readonly string[];
  /** The caller's request id; undefined for a notification. */
  id: RequestId | undefined;
  /** The call goes into a session that the server may have lost: a refusal may hide in an event stream. */
  mayBeLost: boolean;
  /** The id that `body` carries instead, and the JSON text of the caller's. */
  replacedId: { ours: string; theirs: Buffer } | undefined;
  /** In a session of the caller's own, who may come back for the answer (MCP 2025-11-25, basic/transports: resuming). */
  isResumable?: boolean;
  /** Makes the caller's id of a session that the upstream opens with its answer. */
  sealSession?: (upstreamId: string) => string;
}

/** What the relay tells its owner; each call ends with exactly one of these. */
export interface RelayEvents {
  /** The upstream answered in its protocol, and the answer went to the caller. */
  answered(): void;
  /** The upstream refused by HTTP status or by a small JSON-RPC error; nothing was sent to the caller yet. */
  refused(refusal: Refusal): void;
  /** The upstream failed. If `sent`, the caller has got a part already and was told what still could be. */
  failed(fault: UpstreamFault, sent: boolean): void;
  /** The caller went away before the end. */
  abandoned(): void;
}

export interface Refusal {
  status: number;
  /** The JSON-RPC error code, if the body is a JSON-RPC error. */
  rpcCode: number | undefined;
  retryAfter: string | undefined;
  /** WWW-Authenticate. */
  challenge: string | undefined;
  /** Passes the JSON-RPC error on to the caller as it is; undefined if the body was none. */
  pass: (() => void) | undefined;
}
