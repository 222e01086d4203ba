const quote = 0x22;
const backslash = 0x5c;
const colon = 0x3a;
const comma = 0x2c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;

/** Where the value of a top-level key stands in the bytes: `[start, end)`. */
export interface Span {
  start: number;
  end: number;
}

/**
 * Whether `bytes`, a JSON text, nests deeper than `limit`. Needs no parsed value, so that a hostile depth
 * never meets a recursive function. Cheap for short bodies: depth N takes 2·N bytes.
 */
export function isDeeperThan(bytes: Uint8Array, limit: number): boolean {
  if (bytes.length < 2 * limit) return false;
  let depth = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === quote) i = endOfString(bytes, i) - 1;
    else if (byte === openBrace || byte === openBracket) {
      if (++depth > limit) return true;
    } else if (byte === closeBrace || byte === closeBracket) depth--;
  }
  return false;
}

/**
 * Finds the value of the top-level `id` in `bytes`, the text of a JSON object that is known to parse, so that
 * it can be replaced without writing the rest anew (a rewrite would lose big numbers and repeated keys).
 * Returns undefined without one, and `'repeated'` when the key is there twice: readers disagree on which counts.
 */
export function findTopLevelId(bytes: Uint8Array): Span | 'repeated' | undefined {
  let found: Span | undefined;
  let depth = 0;
  let atKey = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    switch (byte) {
      case quote: {
        const end = endOfString(bytes, i);
        if (depth === 1 && atKey) {
          atKey = false;
          if (isIdKey(bytes, i, end)) {
            if (found) return 'repeated';
            found = valueAfterKey(bytes, end);
          }
        }
        i = end - 1;
        break;
      }
      case openBrace:
      case openBracket:
        depth++;
        if (depth === 1) atKey = true;
        break;
      case closeBrace:
      case closeBracket:
        depth--;
        break;
      case comma:
        if (depth === 1) atKey = true;
        break;
    }
  }
  return found;
}

/**
 * Whether some object in `bytes`, a JSON text that is known to parse, has two keys that are equal but for their case: a
 * reader that takes them for one may take either.
 */
export function hasRepeatedKey(bytes: Uint8Array): boolean {
  /** The keys of the objects around; undefined for a list. */
  const around: (Set<string> | undefined)[] = [];
  let atKey = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === quote) {
      const end = endOfString(bytes, i);
      const keys = around.at(-1);
      if (atKey && keys) {
        const key = foldCase(stringAt(bytes, i, end));
        if (keys.has(key)) return true;
        keys.add(key);
        atKey = false;
      }
      i = end - 1;
    } else if (byte === openBrace) {
      around.push(new Set());
      atKey = true;
    } else if (byte === openBracket) around.push(undefined);
    else if (byte === closeBrace || byte === closeBracket) around.pop();
    else if (byte === comma) atKey = true;
  }
  return false;
}

/** Like simple case folding (Unicode, CaseFolding.txt), which takes \u017f for s and \u212a for k. */
function foldCase(text: string): string {
  return text.toUpperCase().toLowerCase();
}

function stringAt(bytes: Uint8Array, start: number, end: number): string {
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString());
}

/** `"id"`, or the same word with escapes in it, which a parser takes for the same key. */
function isIdKey(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start === 4) return bytes[start + 1] === 0x69 && bytes[start + 2] === 0x64;
  if (end - start > 14) return false;
  for (let i = start; i < end; i++) {
    if (bytes[i] === backslash) return stringAt(bytes, start, end) === 'id';
  }
  return false;
}

function valueAfterKey(bytes: Uint8Array, keyEnd: number): Span {
  let start = keyEnd;
  while (bytes[start] !== colon) start++;
  start++;
  while (isSpace(bytes[start])) start++;
  if (bytes[start] === quote) return { start, end: endOfString(bytes, start) };
  let end = start;
  while (end < bytes.length && bytes[end] !== comma && bytes[end] !== closeBrace && !isSpace(bytes[end]))
    end++;
  return { start, end };
}

/** Whether `byte` is whitespace between JSON tokens (RFC 8259 §2); undefined, past the end, is none. */
export function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** The index after the closing quote of the string that opens at `start`. */
function endOfString(bytes: Uint8Array, start: number): number {
  let i = start + 1;
  while (i < bytes.length && bytes[i] !== quote) i += bytes[i] === backslash ? 2 : 1;
  return i + 1;
}
