import { RE2JS } from 're2js';

/**
 * An `rpcReqMatch`: what is at each of its paths in a JSON-RPC request has to match the regular expression there.
 * The expressions are RE2's, which need no more time than the text is long: a hostile one stalls nothing.
 */
export class RequestMatch {
  readonly #patterns: Readonly<Record<string, string>>;
  readonly #rules: readonly { keys: readonly string[]; pattern: RE2JS }[];
  readonly #maxChars: number;

  /**
   * `patterns` are regular expressions by path; texts of more than `maxChars` match none.
   * Throws RE2JSSyntaxException for what is no regular expression of RE2.
   */
  constructor(patterns: Readonly<Record<string, string>>, maxChars: number) {
    this.#patterns = patterns;
    this.#rules = Object.entries(patterns).map(([path, pattern]) => ({
      keys: path.split('.'),
      pattern: RE2JS.compile(pattern),
    }));
    this.#maxChars = maxChars;
  }

  /** How large the compiled expressions are: with the length of a text, this is what matching costs. */
  get instructions(): number {
    return this.#rules.reduce((sum, { pattern }) => sum + pattern.programSize(), 0);
  }

  /** Whether the request, a parsed JSON value, matches at every path. What is not there matches nothing. */
  accepts(request: unknown): boolean {
    return this.#rules.every(({ keys, pattern }) => {
      const text = textOf(keys.reduce(memberOf, request));
      return text !== undefined && text.length <= this.#maxChars && pattern.test(text);
    });
  }

  toJSON(): Readonly<Record<string, string>> {
    return this.#patterns;
  }
}

function memberOf(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
  // `length` is an own property, too.
  if (Array.isArray(value) && !/^\d+$/.test(key)) return undefined;
  return (value as Record<string, unknown>)[key];
}

/** A string as it is, other plain values as their JSON; objects and lists have none. */
function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return value === undefined || (typeof value === 'object' && value !== null)
    ? undefined
    : JSON.stringify(value);
}
