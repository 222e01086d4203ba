import type { ServerResponse } from 'node:http';
import { createParser } from 'eventsource-parser';
import type { AuditEntry } from '../../audit/entry.ts';
import { redact } from '../../audit/redact.ts';
import type { HttpDeps } from '../deps.ts';

/**
 * Has the entry keep what is asked and answered, for a namespace that wants that. The answer is read as it goes to the
 * caller, so that it does not matter which way it came; a copy of what is larger than `auditAnswerBytes` is not made.
 */
export function keepDetail(deps: HttpDeps, response: ServerResponse, entry: AuditEntry): void {
  const { limits } = deps;
  const answer = copyBody(response, limits.auditAnswerBytes);
  // Before the row is made, which this one's listener does that comes after.
  response.once('close', () => {
    if (entry.asked === undefined) return;
    const secrets = secretsOf(deps, entry);
    const bytes = answer();
    const kept = (part: unknown) => bounded(redact(part, secrets ?? []), limits.auditDetailBytes);
    const answered =
      bytes === undefined || secrets === undefined ? omitted(entry.bytesOut) : kept(readAnswer(bytes));
    entry.detail = JSON.stringify({ asked: kept(entry.asked), answered });
  });
}

/** Collects what is written; undefined once it is more than `maxBytes`. */
function copyBody(response: ServerResponse, maxBytes: number): () => Buffer | undefined {
  let pieces: Buffer[] | undefined = [];
  let bytes = 0;
  const take = (piece: unknown, encoding: BufferEncoding | undefined) => {
    if (!pieces || !(typeof piece === 'string' || piece instanceof Uint8Array)) return;
    bytes += piece.length;
    if (bytes > maxBytes) pieces = undefined;
    else pieces.push(Buffer.from(piece as string, encoding));
  };
  const { write, end } = response;
  const tap =
    (send: (...args: never[]) => unknown) =>
    (...args: unknown[]) => {
      take(args[0], typeof args[1] === 'string' ? (args[1] as BufferEncoding) : undefined);
      return Reflect.apply(send, response, args);
    };
  response.write = tap(write) as typeof write;
  response.end = tap(end) as typeof end;
  return () => pieces && Buffer.concat(pieces);
}

/** The result or error of a JSON-RPC answer, alone or the last of an event stream; the body of a REST answer. */
function readAnswer(bytes: Buffer): unknown {
  const text = bytes.toString('utf8');
  if (text === '') return undefined;
  try {
    return outcomeOf(JSON.parse(text));
  } catch {
    let answered: unknown;
    const parser = createParser({
      onEvent({ data }) {
        try {
          const message = JSON.parse(data);
          if (message?.result !== undefined || message?.error !== undefined) answered = outcomeOf(message);
        } catch {
          // No message: nothing that could be kept.
        }
      },
    });
    parser.feed(text);
    return answered;
  }
}

function outcomeOf(message: { jsonrpc?: unknown; result?: unknown; error?: unknown } | null): unknown {
  if (message?.jsonrpc !== '2.0') return message;
  return message.error === undefined ? message.result : { error: message.error };
}

/** The credentials of the connection, which a server may repeat; undefined where they are not at hand. */
function secretsOf({ resolver }: HttpDeps, { namespace, connectionId }: AuditEntry): string[] | undefined {
  if (namespace === null || connectionId === null) return [];
  const resolved = resolver.resolve(namespace, connectionId);
  // Forgotten at the end of a call only where the connection has just changed or gone.
  if (!resolved || resolved instanceof Promise) return undefined;
  const { headers, path } = resolved.target;
  const values = headers.reveal().filter((_, index) => index % 2 === 1);
  const query = [...new URL(path, 'http://own.invalid').searchParams.values()];
  return [...values.flatMap((value) => [value, value.split(' ').at(-1) as string]), ...query];
}

function bounded(value: unknown, maxBytes: number): unknown {
  const bytes = Buffer.byteLength(JSON.stringify(value) ?? '');
  return bytes > maxBytes ? omitted(bytes) : value;
}

function omitted(bytes: number): { omitted: string; bytes: number } {
  return { omitted: 'too large, or its secrets could not be told', bytes };
}
