import { headerProblem } from '../../mcp/headers.ts';
import type { InputPlace } from './place.ts';
import type { InputField } from './profile.ts';

/** What holds the values of inputs: the headers of a connection and the query of its URL. */
export interface InputValues {
  headers: Record<string, string>;
  mcpUrl: string;
}

/**
 * The value that is there for `field`. Undefined when there is none, when it is blank, or when the header that it
 * goes to cannot carry it: a query value may hold line breaks, and they would inject (RFC 9110 §5.5).
 */
export function inputValue({ from, to }: InputField, values: InputValues): string | undefined {
  const value =
    from.kind === 'header' ? headerValue(values.headers, from.name) : queryValue(values, from.name);
  if (value === undefined || value.trim() === '') return undefined;
  return to.kind === 'header' && headerProblem(to.name, value) !== undefined ? undefined : value;
}

/** The values with this one at `place` and nothing else there; undefined takes away what was there. */
export function withValue(values: InputValues, place: InputPlace, value: string | undefined): InputValues {
  return place.kind === 'header'
    ? { ...values, headers: withHeader(values.headers, place.name, value) }
    : { ...values, mcpUrl: withParameter(values.mcpUrl, place.name, value) };
}

function headerValue(headers: Record<string, string>, name: string): string | undefined {
  return Object.entries(headers).find(([given]) => isSameHeader(given, name))?.[1];
}

function withHeader(
  headers: Record<string, string>,
  name: string,
  value: string | undefined,
): Record<string, string> {
  const others = Object.entries(headers).filter(([given]) => !isSameHeader(given, name));
  return Object.fromEntries(value === undefined ? others : [...others, [name, value]]);
}

function isSameHeader(left: string, right: string): boolean {
  return left.toLowerCase() === right.toLowerCase();
}

function queryValue({ mcpUrl }: InputValues, name: string): string | undefined {
  return new URL(mcpUrl).searchParams.get(name) ?? undefined;
}

/**
 * Works on the parameters as they are written: URLSearchParams would write the others anew (`%20` as `+`, `a` as
 * `a=`), and a server may have signed them.
 */
function withParameter(mcpUrl: string, name: string, value: string | undefined): string {
  const url = new URL(mcpUrl);
  const written = url.search === '' ? [] : url.search.slice(1).split('&');
  // The `&` keeps a `?` at the start of the name from being taken for the start of a query.
  const others = written.filter((parameter) => !new URLSearchParams(`&${parameter}`).has(name));
  if (value !== undefined) others.push(new URLSearchParams([[name, value]]).toString());
  url.search = others.length === 0 ? '' : `?${others.join('&')}`;
  return url.href;
}
