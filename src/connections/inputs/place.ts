import { headerProblem } from '../../mcp/headers.ts';

/** Where a value of a connection lives: a header, or a parameter in the query of `mcpUrl`. */
export interface InputPlace {
  kind: 'header' | 'query';
  name: string;
}

/** The place as a key to compare and to collect by; header names have no case (RFC 9110 §5.1). */
export function placeKey({ kind, name }: InputPlace): string {
  return `${kind}:${kind === 'header' ? name.toLowerCase() : name}`;
}

/** Whether a field whose value is asked for at `from` goes on to the upstream under another name or kind. */
export function isMoved({ from, to }: { from: InputPlace; to: InputPlace }): boolean {
  return placeKey(from) !== placeKey(to);
}

/** The name of a parameter is something that people can see: nothing invisible, and single spaces inside at most. */
const parameterName = /^[^\p{C}\p{Z}]+( [^\p{C}\p{Z}]+)*$/u;

/**
 * Whether a value can be sent at this place. What belongs to the transport or to the protocol cannot; nor can a
 * name that reaches prototypes, which no JSON body of ours could carry back.
 */
export function isSendable({ kind, name }: InputPlace, maxNameChars: number): boolean {
  if (name.length > maxNameChars || name.split('.').includes('__proto__')) return false;
  return kind === 'header' ? headerProblem(name, '') === undefined : parameterName.test(name);
}

/**
 * Headers that no `x-from` may name, beside those of the transport: they carry who calls, not what is asked for
 * (api.md §4, configSchema transport), and `mcp-*` is the protocol's.
 */
export function isReservedSource({ kind, name }: InputPlace): boolean {
  return kind === 'header' && /^(authorization$|cookie$|cf-|smithery-|mcp-)/i.test(name);
}
