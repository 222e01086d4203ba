import type { Downstream } from './relay-call.ts';

/** Answers with one JSON document. */
export function writeJson(
  { response, headers: shared, entry }: Downstream,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(status, {
    ...shared,
    ...headers,
    'content-type': 'application/json',
    'content-length': bytes.length,
  });
  entry.bytesOut = bytes.length;
  response.end(bytes);
}
