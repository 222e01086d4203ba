/**
 * How a call or action ended. `ok`: it was answered, on the relay whatever the answer says; `tool_error`: the tool says
 * `isError`; `rpc_error`: a JSON-RPC error, whose number is the code; `failed`: an error of the table in
 * `platform/errors.ts`, which is the code, or an end of a setup page that changed nothing; `cancelled`: the caller went away.
 */
export type Outcome = 'ok' | 'tool_error' | 'rpc_error' | 'failed' | 'cancelled';

/** Who did it. */
export interface Actor {
  organizationId: string;
  kind: string;
  keyId: string | null;
  tokenId: string | null;
  userId: string | null;
}

/** What the calls are that have detail, and what of their params it is. */
const detailed: Record<string, readonly string[]> = {
  'tools/call': ['name', 'arguments'],
  'prompts/get': ['name', 'arguments'],
  'resources/read': ['uri'],
};

/**
 * What is known of one call or control action while it runs: whoever learns something notes it here, and at its end it
 * becomes one row of the audit. Never headers, and arguments and results only where the namespace asks for that.
 */
export class AuditEntry {
  readonly actor: Actor;
  /** Epoch milliseconds. */
  readonly time: number;
  namespace: string | null;
  readonly traceId: string | null;
  /** As the caller names it; the uid is null where no such connection is known. */
  connectionId: string | null = null;
  connectionUid: string | null = null;
  /** The JSON-RPC method, or the HTTP method of a request that carried no message. */
  method: string;
  tool: string | null = null;
  outcome: Outcome = 'ok';
  code: string | null = null;
  /** HTTP status; null if no answer was begun. */
  status: number | null = null;
  durationMs = 0;
  /** Bodies alone, without heads. */
  bytesIn = 0;
  bytesOut = 0;
  /** Whether the namespace keeps what calls say. */
  readonly keepsDetail: boolean;
  /** What was asked for, as the caller sent it; undefined where it is not to be kept. */
  asked: Record<string, unknown> | undefined;
  /** JSON of what was asked and answered, without secrets. */
  detail: string | null = null;

  constructor(
    actor: Actor,
    time: number,
    namespace: string | null,
    method: string,
    traceparent: string | undefined,
    keepsDetail = false,
  ) {
    this.keepsDetail = keepsDetail;
    this.actor = actor;
    this.time = time;
    this.namespace = namespace;
    this.method = method;
    this.traceId = traceparent === undefined ? null : traceIdOf(traceparent);
  }

  /** Notes the JSON-RPC message that the request carries. */
  carries(method: string | undefined, params: Record<string, unknown> | undefined): void {
    this.method = method ?? 'response';
    if (method === 'tools/call' && typeof params?.name === 'string') this.tool = params.name;
    if (this.keepsDetail) this.asks(params ?? {});
  }

  /** Notes what the request asks for, where that is kept. */
  asks(params: Record<string, unknown>): void {
    const names = this.keepsDetail ? detailed[this.method] : undefined;
    if (names) this.asked = Object.fromEntries(names.map((name) => [name, params[name]]));
  }

  /** Notes that it ended with an error of the one table. */
  failed(code: string): void {
    this.outcome = 'failed';
    this.code = code;
  }

  /** Notes that it was answered with a JSON-RPC error. */
  answeredError(code: number): void {
    this.outcome = 'rpc_error';
    this.code = String(code);
  }

  /** Notes that the tool ran, and says that it failed. */
  toolFailed(): void {
    this.outcome = 'tool_error';
  }
}

/** The trace id of a `traceparent` header (W3C Trace Context §3.2.2); null if it has none. */
function traceIdOf(traceparent: string): string | null {
  const id = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-|$)/.exec(traceparent)?.[1];
  return id === undefined || /^0+$/.test(id) ? null : id;
}
