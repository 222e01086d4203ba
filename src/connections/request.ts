import { z } from 'zod';
import { headerProblem } from '../mcp/headers.ts';
import { ApiError } from '../platform/errors.ts';
import type { Limits } from '../platform/limits.ts';
import { isStorableText } from '../platform/store/storable-text.ts';
import { mockSchema } from './connection.ts';

/** What create and set take (api.md §3.2). Fields of later features are known here, to be refused by name. */
export const connectionRequestSchema = z.strictObject({
  transport: z
    .enum(['http', 'uplink'])
    .optional()
    .meta({ description: 'For an uplink, a server on some other machine pairs with it; it has no mcpUrl.' }),
  mcpUrl: z
    .url()
    .optional()
    .meta({ description: 'URL of the MCP server.', examples: ['https://mcp.example.com/mcp'] }),
  server: z.string().optional().meta({ description: 'Registry name of a server. Not supported yet.' }),
  name: z
    .string()
    .min(1)
    .max(255)
    .optional()
    .meta({ description: 'Shown to people; the connection id by default.' }),
  metadata: z
    .record(z.string(), z.unknown())
    .optional()
    .meta({ description: 'Your own keys, for filtering.', examples: [{ userId: 'user123' }] }),
  headers: z
    .record(z.string(), z.string())
    .optional()
    .meta({ description: 'Sent with each upstream request; sealed, never returned.' }),
  mock: mockSchema.optional(),
  source: z.unknown().optional().meta({ description: 'Not supported yet.' }),
});

export type ConnectionRequest = z.infer<typeof connectionRequestSchema>;

/** A request whose every field was judged. undefined means: keep what is stored. */
export interface CheckedRequest {
  transport: 'http' | 'uplink' | undefined;
  mcpUrl: string | undefined;
  name: string | undefined;
  metadata: Record<string, unknown> | undefined;
  headers: Record<string, string> | undefined;
}

/**
 * Checks what a schema cannot say. Throws ApiError `validation_error`, naming the field and never its value.
 */
export function checkRequest(request: ConnectionRequest, limits: Limits): CheckedRequest {
  if (request.server !== undefined) refuse('server', 'registry servers are not supported yet; give mcpUrl');
  if (request.source !== undefined) refuse('source', 'hosted modules are not supported yet; give mcpUrl');
  if (request.name !== undefined && !isStorableText(request.name)) {
    refuse('name', 'must not contain control characters');
  }
  if (request.transport === 'uplink') checkUplink(request);
  return {
    transport: request.transport,
    mcpUrl: request.mcpUrl === undefined ? undefined : checkUrl(request.mcpUrl, limits),
    name: request.name,
    metadata: request.metadata === undefined ? undefined : checkMetadata(request.metadata, limits),
    headers: request.headers === undefined ? undefined : checkHeaders(request.headers, limits),
  };
}

/** What belongs to a server that is called at an address. */
function checkUplink({ mcpUrl, headers }: ConnectionRequest): void {
  if (mcpUrl !== undefined) refuse('mcpUrl', 'an uplink has none; leave it out');
  if (headers !== undefined) refuse('headers', 'an uplink has none; leave it out');
}

/** Mock mode counts at creation only; later it is ignored (design §8). */
export function refuseMock(request: ConnectionRequest): void {
  if (request.mock?.enabled) refuse('mock', 'mock connections are not supported yet');
}

/** The form in which URLs are stored and compared: WHATWG `href` without fragment (design §8). */
export function canonicalUrl(text: string): string | undefined {
  const url = URL.parse(text);
  if (!url) return undefined;
  url.hash = '';
  return url.href;
}

function checkUrl(text: string, limits: Limits): string {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) refuse('mcpUrl', 'must be an http:// or https:// URL');
  if (url.username || url.password) refuse('mcpUrl', 'must not contain a user name or password; use headers');
  const href = canonicalUrl(text) as string;
  if (href.length > limits.urlChars) refuse('mcpUrl', `must be at most ${limits.urlChars} characters`);
  return href;
}

function checkMetadata(metadata: Record<string, unknown>, limits: Limits): Record<string, unknown> {
  if (Object.keys(metadata).length > limits.metadataKeys) {
    refuse('metadata', `must have at most ${limits.metadataKeys} keys`);
  }
  if (Buffer.byteLength(JSON.stringify(metadata)) > limits.metadataBytes) {
    refuse('metadata', `must be at most ${limits.metadataBytes} bytes of JSON`);
  }
  return metadata;
}

function checkHeaders(headers: Record<string, string>, limits: Limits): Record<string, string> {
  const entries = Object.entries(headers);
  if (entries.length > limits.headersPerConnection) {
    refuse('headers', `must have at most ${limits.headersPerConnection} entries`);
  }
  const seen = new Set<string>();
  for (const [name, value] of entries) {
    const shown = `headers.${JSON.stringify(name.slice(0, 64))}`;
    const problem = headerProblem(name, value);
    if (problem) refuse(shown, problem);
    if (value.length > limits.headerValueBytes)
      refuse(shown, `must be at most ${limits.headerValueBytes} bytes`);
    if (seen.has(name.toLowerCase())) refuse(shown, 'is there twice');
    seen.add(name.toLowerCase());
  }
  return headers;
}

function refuse(field: string, problem: string): never {
  throw new ApiError('validation_error', { message: `${field}: ${problem}.` });
}
