/**
 * Header policy of the data plane. What is not named here stays on its own side: credentials, cookies,
 * forwarding and hop-by-hop headers never cross (MCP 2026-07-28, security best practices: token passthrough).
 */
export const sessionHeader = 'mcp-session-id';
export const versionHeader = 'mcp-protocol-version';

/** The vendor's SDK sends this as a session id to say that it wants none (api.md §10). */
export const statelessSession = 'smithery-stateless';

/** What every POST of a JSON-RPC message says of its body and of the answers it takes (MCP 2025-11-25, basic/transports). */
export const contentHeaders = [
  'content-type',
  'application/json',
  'accept',
  'application/json, text/event-stream',
] as const;

const forwarded = new Set([
  versionHeader,
  'mcp-method',
  'mcp-name',
  'last-event-id',
  'traceparent',
  'tracestate',
]);
const forwardedPrefix = 'mcp-param-';

/** Headers of the caller that a modern upstream must see, as a flat list of names and values. */
export function forwardedHeaders(headers: Record<string, string | string[] | undefined>): string[] {
  const flat: string[] = [];
  for (const name in headers) {
    if (!forwarded.has(name) && !name.startsWith(forwardedPrefix)) continue;
    const value = headers[name];
    if (typeof value === 'string') flat.push(name, value);
  }
  return flat;
}

/** Headers that a connection may not set: they belong to the transport or to the protocol. */
const reserved = new Set([
  'accept',
  'accept-encoding',
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'expect',
  'host',
  'keep-alive',
  'last-event-id',
  'mcp-method',
  'mcp-name',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  sessionHeader,
  versionHeader,
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Why a connection cannot send this header, or undefined if it can (RFC 9110 §5.1, §5.5). */
export function headerProblem(name: string, value: string): string | undefined {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) return 'is no header name';
  const lower = name.toLowerCase();
  if (reserved.has(lower) || lower.startsWith(forwardedPrefix)) return 'is reserved for the transport';
  // Field values: visible characters, spaces and tabs; CR, LF and NUL would inject (RFC 9110 §5.5).
  if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) return 'has a value with characters that no header can carry';
  return undefined;
}

/** The one value of a header that should be there once; the first, if it is there more often. */
export function singleValue(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

/** The media type of a Content-Type value, without parameters and in lower case (RFC 9110 §8.3.1). */
export function mediaType(contentType: string | undefined): string | undefined {
  // Nearly every answer says it in this form, and the data path need not take it apart.
  if (contentType === 'application/json' || contentType === 'text/event-stream') return contentType;
  return contentType?.split(';')[0]?.trim().toLowerCase();
}

/** A value as a header; what a header cannot carry goes as base64 (MCP 2026-07-28, streamable-http). */
function encodeHeaderValue(value: string): string {
  const plain = /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(value) && !value.startsWith('=?base64?');
  return plain ? value : `=?base64?${Buffer.from(value, 'utf8').toString('base64')}?=`;
}

/** The headers that repeat the body of a modern request (MCP 2026-07-28, streamable-http), as a flat list. */
export function modernHeaders(
  revision: string,
  method: string,
  params: Record<string, unknown> | undefined,
): string[] {
  const flat = [versionHeader, revision, 'mcp-method', method];
  const name = namedBy(method, params);
  if (name !== undefined) flat.push('mcp-name', encodeHeaderValue(name));
  return flat;
}

/** What a modern request names in its `Mcp-Name` header; undefined for one that has none. */
export function namedBy(method: string, params: Record<string, unknown> | undefined): string | undefined {
  const isNamed = method === 'tools/call' || method === 'prompts/get' || method === 'resources/read';
  const name = method === 'resources/read' ? params?.uri : params?.name;
  return isNamed && typeof name === 'string' ? name : undefined;
}

/**
 * The arguments that a tool wants mirrored into `Mcp-Param-*` headers, as a flat list: properties of its input
 * schema with `x-mcp-header` (MCP 2026-07-28, streamable-http). Whoever builds a request must do it.
 */
export function mirroredParams(inputSchema: unknown, args: Record<string, unknown>): string[] {
  const properties = (inputSchema as { properties?: Record<string, unknown> } | undefined)?.properties ?? {};
  const flat: string[] = [];
  for (const [name, schema] of Object.entries(properties)) {
    const header = (schema as { 'x-mcp-header'?: unknown } | null)?.['x-mcp-header'];
    const value = Object.hasOwn(args, name) ? args[name] : undefined;
    if (typeof header !== 'string' || !/^[0-9A-Za-z-]+$/.test(header)) continue;
    if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') continue;
    flat.push(`${forwardedPrefix}${header.toLowerCase()}`, encodeHeaderValue(String(value)));
  }
  return flat;
}
