import { mediaType } from '../mcp/headers.ts';
import { EgressDenied } from '../platform/egress/address-policy.ts';
import { ApiError } from '../platform/errors.ts';
import type { RetryAfter } from './retry-after.ts';
import { shownPath, type Target } from './target.ts';

/**
 * How an upstream failed.
 * - `unreachable`: no connection, so the call provably did not run
 * - `timeout`, `cut_off`, `server_error`: one call failed; whether the upstream is well, a probe must tell
 * - `wrong_answer`: whatever lives there, it is no MCP server at that address
 * - `refused_credentials`: 401 or 403
 * - `offline`: nobody is paired with the uplink here, so the call did not run
 * - `busy`: 429, or 503 with Retry-After, which says nothing against it
 */
export type FaultKind =
  | 'unreachable'
  | 'timeout'
  | 'cut_off'
  | 'server_error'
  | 'wrong_answer'
  | 'refused_credentials'
  | 'offline'
  | 'busy';

/** Statuses by which a proxy, or the server's host, says that the server behind it was not reached (RFC 9110 §15.6). */
const gatewayStatuses = new Set([502, 503, 504]);

/** An upstream failed. `message` is for people, and carries no secret: no query, no header, no answer text. */
export class UpstreamFault extends Error {
  readonly kind: FaultKind;
  /** The evidence stands by itself; otherwise a probe decides on the connection's status (design §8). */
  readonly decisive: boolean;
  /** The HTTP status that it answered, where that is the fault. */
  readonly status: number | undefined;
  /** It failed before anything of an answer came, or whoever stands before it said so: what opens a circuit. */
  onTheWay: boolean;

  constructor(kind: FaultKind, message: string, cause?: unknown, status?: number) {
    super(message, { cause });
    this.name = 'UpstreamFault';
    this.kind = kind;
    this.status = status;
    this.decisive = kind === 'unreachable' || kind === 'wrong_answer' || kind === 'refused_credentials';
    this.onTheWay =
      kind === 'timeout' ||
      kind === 'cut_off' ||
      (kind === 'server_error' && status !== undefined && gatewayStatuses.has(status)) ||
      (kind === 'unreachable' && !(cause instanceof EgressDenied));
  }

  /** The same of an upstream that was reached, or of another server than the upstream: it opens no circuit. */
  notOnTheWay(): this {
    this.onTheWay = false;
    return this;
  }

  /** What a caller of the data plane is told. */
  toApiError(): ApiError {
    const code =
      this.kind === 'timeout'
        ? 'upstream_timeout'
        : this.kind === 'refused_credentials'
          ? 'upstream_refused_credentials'
          : 'upstream_failed';
    return new ApiError(code, {
      message: this.message,
      retryable: this.kind === 'unreachable' && !(this.cause instanceof EgressDenied),
      cause: this,
    });
  }
}

/** The upstream answered 401 or 403. `challenge` is its WWW-Authenticate header. */
export class CredentialsRefused extends UpstreamFault {
  declare readonly status: number;
  readonly challenge: string | undefined;

  constructor(status: number, challenge: string | undefined) {
    super('refused_credentials', `${refusedCredentials} (${status})`, undefined, status);
    this.challenge = challenge;
  }
}

/** How the message of a refusal begins; what follows is the status. */
export const refusedCredentials = 'upstream refused the credentials';

/** The upstream asks to slow down: it is well, and the caller is told when to come again. */
export class UpstreamBusy extends UpstreamFault {
  readonly retryAfter: RetryAfter;

  constructor(status: number, retryAfter: RetryAfter) {
    super('busy', `upstream asks to slow down (${status})`, undefined, status);
    this.retryAfter = retryAfter;
  }

  override toApiError(): ApiError {
    const { retryAfter } = this;
    return new ApiError(
      'rate_limited',
      retryAfter === undefined ? {} : { headers: { 'retry-after': retryAfter } },
    );
  }
}

/**
 * Whether an HTTP status tells against the upstream whatever the body says. Other errors (4xx) may carry a
 * JSON-RPC answer to the caller's own message.
 */
export function isFaultStatus(status: number): boolean {
  return status === 401 || status === 403 || status === 429 || status >= 500;
}

/** The fault that an HTTP status other than 2xx stands for. */
export function faultOfStatus(
  status: number,
  target: Target,
  { retryAfter, challenge }: { retryAfter: string | undefined; challenge: string | undefined },
): UpstreamFault {
  if (status === 429 || (status === 503 && retryAfter !== undefined))
    return new UpstreamBusy(status, retryAfter);
  if (status === 401 || status === 403) return new CredentialsRefused(status, challenge);
  const message = `upstream answered ${status} at ${shownPath(target)}`;
  return new UpstreamFault(status >= 500 ? 'server_error' : 'wrong_answer', message, undefined, status);
}

/** The fault of an answer whose type is neither JSON nor an event stream. */
export function faultOfContentType(contentType: string | undefined): UpstreamFault {
  const type = mediaType(contentType);
  const named = type && /^[a-z0-9.+-]+\/[a-z0-9.+-]+$/.test(type) ? type : 'no content type';
  return new UpstreamFault('wrong_answer', `not an MCP server: answered ${named}`);
}

const connectFailures: Record<string, string> = {
  ECONNREFUSED: 'connection refused',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'DNS lookup failed',
  EAI_FAIL: 'DNS lookup failed',
  ENODATA: 'no such host',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  EADDRNOTAVAIL: 'address not available',
  ETIMEDOUT: 'connection timed out',
  UND_ERR_CONNECT_TIMEOUT: 'connection timed out',
  EPROTO: 'TLS handshake failed',
};

/** The fault behind an error that undici, a socket or an abort raised. */
export function faultOfError(error: unknown): UpstreamFault {
  if (error instanceof UpstreamFault) return error;
  if (error instanceof EgressDenied) return new UpstreamFault('unreachable', error.message, error);
  const { name, code, cause, errors } = error as {
    name?: string;
    code?: string;
    cause?: unknown;
    errors?: { code?: string }[];
  };
  const known = code ?? errors?.[0]?.code ?? (cause as { code?: string } | undefined)?.code ?? '';
  const connectFailure = connectFailures[known];
  if (connectFailure) return new UpstreamFault('unreachable', connectFailure, error);
  if (/^(ERR_TLS_|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|ERR_SSL_)/.test(known)) {
    return new UpstreamFault('unreachable', `TLS failed: ${known}`, error);
  }
  if (name === 'TimeoutError' || known === 'UND_ERR_HEADERS_TIMEOUT' || known === 'UND_ERR_BODY_TIMEOUT') {
    return new UpstreamFault('timeout', 'upstream did not answer in time', error);
  }
  if (name === 'HTTPParserError' || known === 'UND_ERR_HEADERS_OVERFLOW') {
    return new UpstreamFault('wrong_answer', 'upstream does not speak HTTP properly', error);
  }
  return new UpstreamFault('cut_off', 'upstream closed the connection before its answer was whole', error);
}
