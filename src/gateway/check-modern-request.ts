import type { IncomingHttpHeaders } from 'node:http';
import { namedBy, versionHeader } from '../mcp/headers.ts';
import type { IncomingMessage } from '../mcp/message.ts';
import { latestModernRevision } from '../mcp/revisions.ts';
import { ApiError } from '../platform/errors.ts';

const capabilitiesKey = 'io.modelcontextprotocol/clientCapabilities';

/**
 * Holds a modern request to its own rules: a supported revision, the envelope, and headers that repeat the body
 * (MCP 2026-07-28, streamable-http). `revision` is what `revisionOf` read.
 * Throws ApiError: `header_mismatch` −32020, `unsupported_revision` −32022, `validation_error` −32602.
 */
export function checkModernRequest(
  message: IncomingMessage,
  revision: string,
  headers: IncomingHttpHeaders,
): void {
  const meta = message.params?._meta as Record<string, unknown> | undefined;
  // The header alone made the request modern.
  if (typeof meta?.['io.modelcontextprotocol/protocolVersion'] !== 'string') {
    throw missingEnvelope('io.modelcontextprotocol/protocolVersion');
  }
  requireSame(headers, versionHeader, revision);
  if (revision !== latestModernRevision) {
    throw new ApiError('unsupported_revision', {
      data: { supported: [latestModernRevision], requested: revision.slice(0, 40) },
    });
  }
  const capabilities = meta[capabilitiesKey];
  if (typeof capabilities !== 'object' || capabilities === null) throw missingEnvelope(capabilitiesKey);
  requireSame(headers, 'mcp-method', message.method as string);
  const name = namedBy(message.method as string, message.params);
  if (name !== undefined) requireSame(headers, 'mcp-name', name);
}

/** `mirrored` is what the arguments must look like as headers, a flat list. Throws ApiError `header_mismatch`. */
export function checkMirroredParams(headers: IncomingHttpHeaders, mirrored: readonly string[]): void {
  for (let at = 0; at < mirrored.length; at += 2) {
    requireSame(headers, mirrored[at] as string, decodeHeaderValue(mirrored[at + 1] as string));
  }
}

function requireSame(headers: IncomingHttpHeaders, name: string, value: string): void {
  const sent = headers[name];
  if (typeof sent === 'string' && decodeHeaderValue(sent) === value) return;
  const what = sent === undefined ? 'is missing' : 'differs from the body';
  throw new ApiError('header_mismatch', { message: `The header ${name} ${what}.` });
}

/** What `encodeHeaderValue` has made of a value. */
function decodeHeaderValue(value: string): string {
  const encoded = /^=\?base64\?(.*)\?=$/.exec(value)?.[1];
  if (encoded === undefined) return value;
  const bytes = Buffer.from(encoded, 'base64');
  // Decoding is lenient; what is no base64 with its padding (RFC 4648 §4) must not pass for the value.
  return bytes.toString('base64') === encoded ? bytes.toString('utf8') : value;
}

function missingEnvelope(key: string): ApiError {
  return new ApiError('validation_error', { message: `params._meta lacks ${key}.` });
}
