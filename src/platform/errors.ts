/**
 * The one table of errors. `status` is the HTTP status; `rpc` the JSON-RPC code used where the answer is a
 * JSON-RPC message; `message` is safe to show to anyone; `when` and `remedy` make up the page in `docs/errors.md`.
 *
 * JSON-RPC codes: the standard ones and those of MCP, −32001 and −32002 as the Connect API has them, and for all else
 * our own, outside −32768…−32000, which MCP reserves (MCP 2026-07-28, basic/index, error codes).
 */
export const errorTable = {
  bad_request: {
    status: 400,
    rpc: -32600,
    message: 'The request is malformed.',
    when: 'The request cannot be understood: an address that does not decode, a bad cursor.',
    remedy: 'Correct what the message names.',
  },
  invalid_json: {
    status: 400,
    rpc: -32700,
    message: 'The body is not valid JSON.',
    when: 'The body of a message is not JSON, or is nested too deep.',
    remedy: 'Send one JSON document.',
  },
  invalid_message: {
    status: 400,
    rpc: -32600,
    message: 'The body is not one JSON-RPC 2.0 request or notification.',
    when: 'An MCP endpoint received a batch, a response, or an object that is no JSON-RPC message.',
    remedy: 'Send one JSON-RPC request or notification a POST.',
  },
  validation_error: {
    status: 400,
    rpc: -32602,
    message: 'Invalid request.',
    when: 'A field is missing, unknown or of the wrong form; the message names it.',
    remedy: 'Correct the named field.',
  },
  header_mismatch: {
    status: 400,
    rpc: -32020,
    message: 'The headers do not say what the body says.',
    when: 'A request of MCP 2026-07-28 lacks a header that repeats its body, or the two differ.',
    remedy: 'Send the header that the message names with the value of the body.',
  },
  unsupported_revision: {
    status: 400,
    rpc: -32022,
    message: 'This protocol revision is not supported here.',
    when: 'A request names a revision that the namespace endpoint does not speak.',
    remedy: 'Use one of `data.supported`.',
  },
  unauthorized: {
    status: 401,
    rpc: 40101,
    message: 'Missing authentication token. Provide an API key or service token in the Authorization header.',
    when: 'No `Authorization: Bearer` header came with the request.',
    remedy: 'Send `Authorization: Bearer <API key or service token>`.',
  },
  invalid_token: {
    status: 401,
    rpc: 40102,
    message: 'Invalid API key or session token.',
    when: 'The bearer token is none that this server knows; or a service token that has expired or was revoked, as the message says.',
    remedy: 'Check the key, or mint another token; `patchbay keys create` makes a new key.',
  },
  mcp_authorization_required: {
    status: 401,
    rpc: -32001,
    message: 'Authorization required',
    when: 'The connection waits for a login at its provider.',
    remedy: 'Open the setup page in `data.authorizationUrl`.',
  },
  mcp_input_required: {
    status: 409,
    rpc: -32002,
    message: 'Input required',
    when: 'The connection waits for values that only the user has.',
    remedy: 'Send the values in `data.missing`, or open the setup page.',
  },
  forbidden: {
    status: 403,
    rpc: 40301,
    message: 'Missing required permission.',
    when: 'The service token is good but lacks the permission that the message names; or only an admin or a person may do it; or the organization that is named is not the caller’s.',
    remedy: 'Use a token that has it, or an API key of the organization, or ask one of its admins.',
  },
  tool_quarantined: {
    status: 403,
    rpc: 40305,
    message: 'The tool has changed since it was accepted, and nobody has accepted it as it is now.',
    when: 'The namespace has quarantine, and the definition of the tool is new or not the one that is pinned. The call was not sent.',
    remedy: 'Look at `.pins` of the connection, and accept the change if it is right.',
  },
  limit_reached: {
    status: 403,
    rpc: 40304,
    message: 'There are as many as there may be.',
    when: 'A namespace has as many connections as it may, or an organization as many open invitations.',
    remedy: 'Delete some, or have the operator raise the limit (PATCHBAY_LIMITS).',
  },
  host_not_allowed: {
    status: 403,
    rpc: 40302,
    message: 'This Host is not allowed. The operator can add it to PATCHBAY_ALLOWED_HOSTS.',
    when: 'The Host header names neither the public URL nor loopback nor an allowed host (DNS rebinding).',
    remedy: 'Call the public URL, or have the operator allow the host.',
  },
  origin_not_allowed: {
    status: 403,
    rpc: 40303,
    message: 'This Origin is not allowed. The operator can add it to PATCHBAY_ALLOWED_ORIGINS.',
    when: 'A browser page of an origin that is not allowed called an MCP endpoint.',
    remedy: 'Have the operator allow the origin.',
  },
  not_found: {
    status: 404,
    rpc: 40401,
    message: 'Not found.',
    when: 'There is no such path, or nothing of that name that the caller may see.',
    remedy: 'Check the path and the name.',
  },
  namespace_not_found: {
    status: 404,
    rpc: 40402,
    message: 'Namespace not found or access denied',
    when: 'The namespace does not exist, or belongs to another organization.',
    remedy: '`GET /namespaces` lists yours.',
  },
  connection_not_found: {
    status: 404,
    rpc: 40403,
    message: 'Connection not found',
    when: 'The namespace has no connection of that id.',
    remedy: 'List the connections of the namespace.',
  },
  tool_not_found: {
    status: 404,
    rpc: 40404,
    message: 'Tool not found',
    when: 'The upstream lists no tool, and no category of tools, of that name.',
    remedy: 'List the tools of the connection.',
  },
  method_not_found: {
    status: 404,
    rpc: -32601,
    message: 'Method not found',
    when: 'The namespace endpoint has no such MCP method. Callers of a legacy revision get it with status 200.',
    remedy: 'Use what `server/discover` or `initialize` declares, or the endpoint of one connection.',
  },
  session_not_found: {
    status: 404,
    rpc: 40405,
    message: 'Session not found. Initialize again, or leave Mcp-Session-Id out: a session is not needed.',
    when: 'The MCP session id is none of this connection and caller, has run out, was ended, or its upstream lost it; or, in front of a server that speaks HTTP+SSE, it lives in another process.',
    remedy: 'Initialize again; or leave `Mcp-Session-Id` out, or send `smithery-stateless`.',
  },
  call_gone: {
    status: 404,
    rpc: 40406,
    message: 'The call that asked is gone. Make the call again, without requestState.',
    when: 'Answers came for a call that waited for them and has ended since: it ran out, its upstream failed, or Patchbay was restarted.',
    remedy: 'Make the call again, without `requestState` and `inputResponses`.',
  },
  method_not_allowed: {
    status: 405,
    rpc: 40501,
    message: 'This endpoint takes POST only, without a session.',
    when: 'GET or DELETE without a session on an MCP endpoint, or in one whose server has neither; any other method.',
    remedy: 'POST a JSON-RPC message.',
  },
  request_timeout: {
    status: 408,
    rpc: 40801,
    message: 'The request did not arrive in time.',
    when: 'The caller took too long to send its request.',
    remedy: 'Send it again.',
  },
  pins_changed: {
    status: 409,
    rpc: 40905,
    message: 'The tools have changed again, or were never listed. Nothing was accepted.',
    when: 'Changes of tools are accepted under a `revision` that is not the current one, or where there are none.',
    remedy: 'Get `.pins` again, and look at what is new.',
  },
  url_mismatch: {
    status: 409,
    rpc: 40901,
    message: 'The connection exists with a different mcpUrl.',
    when: 'A PUT names another upstream than the stored one.',
    remedy: 'Leave `mcpUrl` out, or delete the connection first.',
  },
  already_exists: {
    status: 409,
    rpc: 40902,
    message: 'It already exists.',
    when: 'The name is taken.',
    remedy: 'Choose another name.',
  },
  last_owner: {
    status: 409,
    rpc: 40906,
    message: 'The organization would have no owner left.',
    when: 'Its only owner is to leave, to be removed or to get another role.',
    remedy: 'Make another member owner first.',
  },
  uplink_in_use: {
    status: 409,
    rpc: 40904,
    message: 'Another session is paired with this uplink. Take it over with ?force=1.',
    when: 'A machine pairs with an uplink that has a live tunnel.',
    remedy: 'End the other session, or pair with `?force=1`, which ends it.',
  },
  conflict: {
    status: 409,
    rpc: 40903,
    message: 'The request conflicts with another one.',
    when: 'The thing changed or went away while the request ran.',
    remedy: 'Read it again, then decide.',
  },
  payload_too_large: {
    status: 413,
    rpc: 41301,
    message: 'The body is too large.',
    when: 'The body is over the limit that the message names.',
    remedy: 'Send less.',
  },
  unsupported_media_type: {
    status: 415,
    rpc: 41501,
    message: 'Send the body as application/json.',
    when: 'The Content-Type is missing or is not JSON.',
    remedy: 'Send `Content-Type: application/json`.',
  },
  auth_required: {
    status: 422,
    rpc: 42201,
    message: 'The connection needs a login.',
    when: 'A tool was asked for over REST while the connection waits for a login.',
    remedy: 'Open the setup page that the message names.',
  },
  input_required: {
    status: 422,
    rpc: 42203,
    message: 'The connection needs values from its user.',
    when: 'A tool was asked for over REST while the connection waits for values that only its user has.',
    remedy: 'Open the setup page that the message names, or PUT the connection with the values.',
  },
  tool_error: {
    status: 422,
    rpc: 42202,
    message: 'The upstream refused the call.',
    when: 'The upstream answered a tool call with a JSON-RPC error.',
    remedy: 'The message is the upstream’s own.',
  },
  upstream_rejected: {
    status: 400,
    rpc: 40002,
    message: 'The upstream rejected the message.',
    when: 'The upstream answered 400, 406, 413, 415 or 422 without a JSON-RPC error.',
    remedy: 'Check the message against what the server takes.',
  },
  rate_limited: {
    status: 429,
    rpc: 42901,
    message: 'The upstream asks to slow down.',
    when: 'The upstream answered 429, or 503 with `Retry-After`, just now or to a call before; or as many calls, streams or sessions wait for it as may.',
    remedy: 'Wait for `Retry-After`, or a moment.',
  },
  login_expired: {
    status: 410,
    rpc: 41001,
    message: 'The login has expired, or its key was handed out already.',
    when: 'A command line asks for a login that nobody confirmed in time, or a second time for the key.',
    remedy: 'Begin the login once more.',
  },
  too_many_requests: {
    status: 429,
    rpc: 42902,
    message: 'Too many requests.',
    when: 'The API key, the service token, the namespace or the connection has had as many requests as it may in a minute. The request did not run.',
    remedy: 'Wait for `Retry-After`; `RateLimit-Limit`, `-Remaining` and `-Reset` say what is left.',
  },
  too_many_calls: {
    status: 429,
    rpc: 42903,
    message: 'Too many calls at once.',
    when: 'The API key, the service token, the namespace or the connection has as many calls under way as it may. The request did not run.',
    remedy: 'Wait for answers of the others.',
  },
  upgrade_required: {
    status: 426,
    rpc: 42601,
    message: 'This address takes WebSocket connections only.',
    when: 'The pairing address of an uplink got a request that is no WebSocket handshake.',
    remedy: 'Pair with `smithery mcp add`, or open a WebSocket.',
  },
  head_too_large: {
    status: 431,
    rpc: 43101,
    message: 'The headers of the request are too large.',
    when: 'Path and headers together are over 16 KiB.',
    remedy: 'Send less in headers.',
  },
  internal_error: {
    status: 500,
    rpc: -32603,
    message: 'Internal error. It has been logged.',
    when: 'A fault of this server.',
    remedy: 'Report it with the request id.',
  },
  upstream_failed: {
    status: 502,
    rpc: 50201,
    message: 'The upstream could not be reached or answered wrongly.',
    when: 'Refused, DNS, TLS, 404, 5xx, an answer that is not MCP, or one cut off in the middle.',
    remedy: 'See the message and the status of the connection; it heals by itself once the upstream does.',
  },
  upstream_refused_credentials: {
    status: 502,
    rpc: 50202,
    message: 'The upstream refused the credentials.',
    when: 'The upstream answered 401 or 403.',
    remedy: 'PUT the connection with working `headers`.',
  },
  upstream_timeout: {
    status: 504,
    rpc: 50401,
    message: 'The upstream did not answer in time.',
    when: 'A time limit passed before the upstream’s answer was whole.',
    remedy: 'Try again; the status of the connection tells whether the upstream is alive.',
  },
  circuit_open: {
    status: 503,
    rpc: 50302,
    message: 'The upstream could not be called several times in a row. It is tried again in a moment.',
    when: 'Call after call did not get as far as an answer (refused, reset, timed out, 502, 503, 504), so for a moment none is made.',
    remedy:
      'Wait for `Retry-After`: then one call tries. The status of the connection says what is wrong; a PUT tries at once.',
  },
  uplink_offline: {
    status: 503,
    rpc: 50303,
    message: 'The uplink is not connected: no machine is paired with it.',
    when: 'A connection with `transport: "uplink"` was called while no machine is paired with it. The call did not run.',
    remedy:
      'Call again after `Retry-After`: an agent that restarts is back by then. Else start `patchbay uplink` on the machine of the server.',
  },
  uplink_elsewhere: {
    status: 503,
    rpc: 50304,
    message:
      'The tunnel of this uplink is held by another process of this installation, and calls do not travel between processes yet.',
    when: 'Several processes share the database, and the call came to another one than the uplink is paired with. The call did not run.',
    remedy: 'Send calls and pairings to one process.',
  },
  shutting_down: {
    status: 503,
    rpc: 50301,
    message: 'The server is shutting down.',
    when: 'The request came while the process drains.',
    remedy: 'Try again.',
  },
} as const satisfies Record<
  string,
  { status: number; rpc: number; message: string; when: string; remedy: string }
>;

export type ErrorCode = keyof typeof errorTable;

export interface ErrorDetails {
  /** Shown instead of the table's message; must be safe for the caller to read. */
  message?: string;
  /** `data` of the JSON-RPC form. */
  data?: unknown;
  headers?: Record<string, string>;
  /** The work provably did not run, so a client may repeat it by itself. */
  retryable?: boolean;
  cause?: unknown;
}

/** The only error whose text reaches a caller. Thrown anywhere above `platform`, answered by `http/error-answer.ts`. */
export class ApiError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly rpc: number;
  readonly data: unknown;
  readonly headers: Record<string, string> | undefined;
  readonly retryable: boolean;

  constructor(code: ErrorCode, details: ErrorDetails = {}) {
    const row = errorTable[code];
    super(details.message ?? row.message, { cause: details.cause });
    this.name = 'ApiError';
    this.code = code;
    this.status = row.status;
    this.rpc = row.rpc;
    this.data = details.data;
    this.headers = details.headers;
    this.retryable = details.retryable ?? false;
  }

  /**
   * Headers of the answer. The vendor's SDK repeats 408, 409, 429 and ≥ 500 by itself (api.md §2), so
   * those that would run twice, or fail again for certain, say `x-should-retry: false`.
   */
  answerHeaders(): Record<string, string> {
    const repeats = this.status === 409 || this.status >= 500;
    return {
      ...(repeats && !this.retryable ? { 'x-should-retry': 'false' } : {}),
      ...this.headers,
    };
  }
}
