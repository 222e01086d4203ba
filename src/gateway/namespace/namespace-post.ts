import type { IncomingHttpHeaders } from 'node:http';
import type { AuditEntry } from '../../audit/entry.ts';
import type { Caller } from '../reach.ts';
import { viaHeader } from '../via.ts';
import type { NamespaceCaller } from './reach-visible.ts';

/** A request to the endpoint of a namespace, by a caller who may execute there. */
export interface NamespaceRequest extends Caller {
  headers: IncomingHttpHeaders;
  /** Offers tools that find tools and call them, instead of all tools. */
  search: boolean;
  /** Ends with the caller. */
  signal: AbortSignal;
}

/** A POST of one message. */
export interface NamespacePost extends NamespaceRequest {
  body: Buffer;
  entry: AuditEntry;
}

/** Who asks. */
export function callerOf({
  principal,
  namespace,
  usage,
  headers,
  signal,
}: NamespaceRequest): NamespaceCaller {
  return { principal, namespace, usage, via: viaHeader(headers.via), signal, request: undefined };
}
