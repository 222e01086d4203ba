import { isSecureUrl } from '../platform/secure-url.ts';

/** What keeps `text` from being an entry of the list of return URLs; undefined if nothing does. */
export function returnUrlProblem(text: string): string | undefined {
  const url = parsePlain(text);
  if (!url) return 'must be an absolute http:// or https:// URL';
  if (!isSecureUrl(url)) return 'must be https://, or http:// on loopback';
  if (url.username || url.password) return 'must not contain a user name or password';
  // An entry stands for an origin and a path; whatever else it said would look stricter than it is.
  if (url.search || url.hash) return 'must not contain a query or fragment';
  return isPlainPath(url.pathname)
    ? undefined
    : 'must not contain encoded slashes or dot segments in its path';
}

/**
 * Whether a person may be sent to `url` after setup: its origin is that of an entry of `returnUrls`, and its path is
 * the entry's or below it. What browsers and servers might read differently from each other is refused, so an open
 * redirect (RFC 9700 §4.11) needs more than a trick of spelling.
 */
export function isAllowedReturnUrl({ returnUrls }: { returnUrls: readonly string[] }, url: string): boolean {
  const asked = parsePlain(url);
  if (!asked || asked.username || asked.password || !isPlainPath(asked.pathname)) return false;
  return returnUrls.some((entry) => covers(new URL(entry), asked));
}

function covers(entry: URL, asked: URL): boolean {
  if (entry.origin !== asked.origin) return false;
  const below = entry.pathname.endsWith('/') ? entry.pathname : `${entry.pathname}/`;
  return asked.pathname === entry.pathname || asked.pathname.startsWith(below);
}

/**
 * Parses as browsers do (WHATWG URL), but not what they repair: a backslash that becomes a slash, white space that
 * goes away, and `https:host`, which is a host alone and a path in a `Location` header.
 */
function parsePlain(text: string): URL | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
  if (!/^https?:\/\/[^/]/i.test(text) || /[\s\\\u0000-\u001f\u007f]/.test(text)) return undefined;
  return URL.parse(text) ?? undefined;
}

/**
 * Whether every server splits the path alike. Some decode before they split (`%2f`), some decode twice (`%252e`), some
 * drop what follows a semicolon (`..;`): each of these leaves the folder that the entry names.
 */
function isPlainPath(pathname: string): boolean {
  return pathname.split('/').every((segment) => {
    const text = decode(segment);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
    return text !== undefined && !/[/\\\u0000-\u001f]|%(2e|2f|5c)/i.test(text) && !/^\.\.?(;|$)/.test(text);
  });
}

function decode(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}
