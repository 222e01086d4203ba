import { isSpace } from '../mcp/json-scan.ts';
import type { RequestId } from '../mcp/message.ts';

/**
 * What the relay needs to know of an answer, learned from its bytes as cheaply as may be: searches in native
 * code first, a parse only where they leave a doubt.
 */

/** JSON-RPC errors are no larger than this: it is no use to look for one in a larger body. */
export const smallAnswerBytes = 4096;

const resultKey = '"result"';
const errorKey = '"error"';

interface Judgement {
  /** Why the body is no answer to the request. */
  problem?: string;
  /** The JSON-RPC error that it is. */
  error?: { code: number };
}

const noJsonRpc = { problem: 'answered JSON that is no JSON-RPC' };

/**
 * Whether a whole JSON body, with a character for each byte, answers request `id`. Its ends and its keys are looked for,
 * and only a doubt is worth a parse: a parse of each answer costs a call one part in thirty (docs/performance.md).
 */
export function judgeAnswer(body: string, id: RequestId | undefined): Judgement {
  const mayBeError = body.length < smallAnswerBytes && body.includes(errorKey);
  if (
    !mayBeError &&
    isWholeObject(body) &&
    body.includes('"result":{') &&
    body.includes(`"id":${JSON.stringify(id)}`)
  ) {
    return {};
  }
  let message: Record<string, unknown>;
  try {
    message = parseBytes(body);
  } catch {
    return { problem: 'answered JSON that does not parse' };
  }
  if (typeof message !== 'object' || message === null || message.jsonrpc !== '2.0') return noJsonRpc;
  const { result, error } = message;
  if (error !== undefined) {
    const code = (error as { code?: unknown } | null)?.code;
    return typeof code === 'number' && result === undefined ? { error: { code } } : noJsonRpc;
  }
  if (typeof result !== 'object' || result === null) return noJsonRpc;
  return message.id === id ? {} : { problem: 'answered another request than was asked' };
}

/** The JSON-RPC error that `body`, with a character for each byte, is, if it is one. */
export function readError(body: string): { code: number; body: string } | undefined {
  try {
    const { jsonrpc, error } = parseBytes(body);
    return jsonrpc === '2.0' && typeof error?.code === 'number' ? { code: error.code, body } : undefined;
  } catch {
    return undefined;
  }
}

/** The JSON-RPC error in the events of `chunk`, if one of them is one. */
export function readErrorEvent(chunk: Buffer): { code: number; body: string } | undefined {
  if (!chunk.includes(errorKey)) return undefined;
  for (const event of chunk.toString('latin1').split(/\r?\n\r?\n/)) {
    const data = event
      .split(/\r?\n/)
      .filter((line) => line.startsWith('data:'))
      .map((line) => line.slice('data:'.length))
      .join('\n');
    const error = readError(data);
    if (error) return error;
  }
  return undefined;
}

/** Watches a stream for the key that every answer has; without it, none came. Keys may be split by chunks. */
export class AnswerSign {
  seen = false;
  /** The end of what came before: all of a key but its last byte. */
  #tail: Buffer = Buffer.alloc(0);

  look(chunk: Buffer): void {
    if (this.seen) return;
    this.seen = hasAnswerKey(chunk) || hasAnswerKey(Buffer.concat([this.#tail, chunk.subarray(0, keyRest)]));
    if (!this.seen) this.#tail = this.#lastBytes(chunk);
  }

  #lastBytes(chunk: Buffer): Buffer {
    if (chunk.length >= keyRest) return Buffer.from(chunk.subarray(-keyRest));
    return Buffer.concat([this.#tail, chunk]).subarray(-keyRest);
  }
}

const keyRest = resultKey.length - 1;

function hasAnswerKey(bytes: Buffer): boolean {
  return bytes.includes(resultKey) || bytes.includes(errorKey);
}

/** Whether the first and the last character that count are the braces of an object. */
function isWholeObject(body: string): boolean {
  let start = 0;
  let end = body.length - 1;
  while (isSpace(body.charCodeAt(start))) start++;
  while (isSpace(body.charCodeAt(end))) end--;
  return body[start] === '{' && body[end] === '}';
}

function parseBytes(body: string) {
  return JSON.parse(Buffer.from(body, 'latin1').toString('utf8'));
}
